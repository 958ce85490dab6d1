"""The choices that make an arch as the columns and rows of an integer programme.

A slot that several parts of a network read (an output width) is shared, one that only a block reads (its middle width,
its kind) is its own. Blocks that differ in nothing but their own slot, such as those of a stage after its first,
form a class, because their order changes no cost. A cost of an arch then follows from the options at the shared slots,
the depths, and how many blocks of each class take each of their own options.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from fewshot_nas.space.block import Block, Head
from fewshot_nas.space.cost import Measure
from fewshot_nas.space.space import Arch, Options, Space


class Alike(NamedTuple):
    """A class of blocks.

    Attributes:
        places: their numbers; the number of places stands for the head.
        shared: the shared slots that they read.
        own: the slot that each reads alone, or none.
        depth: the slot of which each needs a least value, or None if they are always there.
        least: these values.
    """

    places: tuple[int, ...]
    shared: tuple[int, ...]
    own: tuple[int, ...]
    depth: int | None
    least: tuple[int, ...]

    def count(self, depth: int) -> int:
        """How many of them are there at a depth."""
        return sum(depth >= least for least in self.least) if self.depth is not None else len(self.places)


class Decision(NamedTuple):
    """One way to be a block of a class: options at the shared slots, and at its own (none if it has none)."""

    alike: Alike
    shared: tuple[int, ...]
    own: int | None
    part: Block | Head


@dataclass(frozen=True)
class Decisions:
    """All decisions of a space. Of several options that mean the same, only the first is used.

    Attributes:
        options: those to choose from, at each slot.
    """

    space: Space
    options: Options

    @cached_property
    def classes(self) -> list[Alike]:
        """The classes, in the order of the network; the last one is the head."""
        places, readers = self.space.places, self.space.readers
        found: dict[object, list[int]] = {}
        for number, place in enumerate(places):
            own = [slot for slot in place.reads if readers[slot] == 1]
            shared = tuple(slot for slot in place.reads if slot not in own)
            kinds = tuple(self._parts(number, shared, own[:1])) if len(own) < 2 else (number,)
            found.setdefault((place.stage, shared, kinds, place.when and place.when[0]), []).append(number)
        classes = []
        for numbers in found.values():
            first, whens = places[numbers[0]], [places[number].when for number in numbers]
            own_slots = tuple(slot for number in numbers for slot in places[number].reads if readers[slot] == 1)
            shared = tuple(slot for slot in first.reads if readers[slot] > 1)
            depth = first.when[0] if first.when else None
            classes.append(Alike(tuple(numbers), shared, own_slots, depth, tuple(when[1] for when in whens if when)))
        return [*classes, Alike((len(places),), self.space.head_reads, (), None, ())]

    def _parts(self, place: int, shared: Sequence[int], own: Sequence[int]) -> Iterator[Block]:
        for arch in self.space.archs_that_read((*shared, *own), self.options):
            yield self.space.block_at(place, arch)

    @cached_property
    def slots(self) -> list[tuple[int, int]]:
        """Every option at a shared slot, and every depth: pairs of slot and option."""
        numbers = {slot for each in self.classes for slot in (*each.shared, each.depth) if slot is not None}
        return [(slot, option) for slot in sorted(numbers) for option in self.options[slot]]

    @cached_property
    def all(self) -> list[Decision]:
        """The decisions of all classes, in order."""
        return [decision for each in self.classes for decision in self._of(each)]

    def _of(self, alike: Alike) -> Iterator[Decision]:
        seen: set[object] = set()
        place, own = alike.places[0], alike.own[:1]
        for arch in self.space.archs_that_read((*alike.shared, *own), self.options):
            head = place == len(self.space.places)
            part = self.space.head(arch) if head else self.space.block_at(place, arch)
            shared = tuple(arch[slot] for slot in alike.shared)
            if (shared, part) not in seen:
                seen.add((shared, part))
                yield Decision(alike, shared, arch[own[0]] if own else None, part)

    def cost(self, measure: Measure, decision: Decision) -> float:
        """A decision's cost."""
        if isinstance(decision.part, Head):
            return measure.head(decision.part)
        return measure.block(decision.alike.places[0], decision.part) if decision.part.main else 0.0

    def arch(self, chosen: Sequence[int], taken: Sequence[int]) -> Arch:
        """The arch that chooses these of `slots`, and takes each decision of `all` so many times."""
        choices = [options[0] for options in self.options]
        for (slot, option), number in zip(self.slots, chosen, strict=True):
            if number:
                choices[slot] = option
        free = {each.places: list(each.own) for each in self.classes}
        for decision, number in zip(self.all, taken, strict=True):
            for _ in range(number if decision.own is not None else 0):
                assert decision.own is not None
                choices[free[decision.alike.places].pop(0)] = decision.own
        return self.space.canonical(choices)

    def rows(self) -> Iterator[tuple[dict[int, float], float, float]]:
        """The rows that make decisions an arch, with their bounds. The columns are `slots`, then `all`."""
        for slot in dict.fromkeys(slot for slot, _ in self.slots):
            yield {column: 1.0 for column, (each, _) in enumerate(self.slots) if each == slot}, 1, 1
        column_of = {pair: column for column, pair in enumerate(self.slots)}
        for alike in self.classes:
            here = [(len(self.slots) + at, each) for at, each in enumerate(self.all) if each.alike == alike]
            row = {column: 1.0 for column, _ in here}
            if alike.depth is None:
                yield row, len(alike.places), len(alike.places)
            else:
                depths = self.options[alike.depth]
                counts = {column_of[alike.depth, depth]: -float(alike.count(depth)) for depth in depths}
                yield row | counts, 0, 0
            most = len(alike.places)
            for at, slot in enumerate(alike.shared):
                for option in self.options[slot]:
                    of_option = {column: 1.0 for column, each in here if each.shared[at] == option}
                    yield of_option | {column_of[slot, option]: -float(most)}, -most, 0

    def most(self) -> list[int]:
        """How often each column can be taken."""
        return [1] * len(self.slots) + [len(each.alike.places) for each in self.all]
