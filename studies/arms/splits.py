"""Splits that the study tried and the package does not have: by depth, and by a table for each stage."""

from collections.abc import Sequence
from typing import Any

from fewshot_nas.space.space import Space
from fewshot_nas.space.split import EVERYTHING, Rule, Split, named, reduced


def by_depth(space: Space, stages: Sequence[int], groups: int) -> Split:
    """Split the given stages into `groups` ranges of depths, as equal as possible, and no other stage."""
    depths = {slot.stage: number for number, slot in enumerate(space.slots) if slot.role == "depth"}

    def rule(stage: int) -> Rule:
        if stage not in stages:
            return EVERYTHING
        options = space.slots[depths[stage]].options
        return Rule((depths[stage],), {(depth,): at * groups // len(options) for at, depth in enumerate(options)})

    rules = [rule(place.stage) for place in space.places]
    return named(Split(space, (*rules, rules[-1]), f"depth{''.join(str(stage + 1) for stage in stages)}x{groups}"))


def by_table(space: Space, tables: Any, name: str) -> Split:
    """A split from nested lists: for each stage a row for each output width, ascending, and in it a group for each
    depth, ascending.
    """
    depths = {slot.stage: number for number, slot in enumerate(space.slots) if slot.role == "depth"}

    def rule(number: int) -> Rule:
        place, found = space.places[number], {}
        if place.stage < 0 or place.out is None:
            return EVERYTHING
        archs = list(space.archs_that_read((place.out,), space.all_options))
        widths = sorted({space.block_at(number, arch).out for arch in archs})
        reads = tuple(sorted((place.out, depths[place.stage])))
        for arch in archs:
            row = tables[place.stage][widths.index(space.block_at(number, arch).out)]
            for group, depth in zip(row, space.slots[depths[place.stage]].options, strict=True):
                values = {place.out: arch[place.out], depths[place.stage]: depth}
                found[tuple(values[slot] for slot in reads)] = group
        return reduced(Rule(reads, found))

    rules = [rule(number) for number in range(len(space.places))]
    return named(Split(space, (*rules, rules[-1]), name))
