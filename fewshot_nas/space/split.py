"""Which group of a few-shot supernet serves a block: a table for each stage, and the usual rules that make tables.

Few-shot NAS (arXiv:2006.06863) trains separate weights for groups of subnets. Here each stage is
split independently: the group of a block follows from its stage, its output width and the depth of
the stage. Stages and groups are counted from 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from fewshot_nas.errors import InputError
from fewshot_nas.space.search_space import SearchSpace

MAX_GROUPS = 7  # of a split by width; the competition's space has so many digits
Table = tuple[tuple[int, ...], ...]


class Capacity(NamedTuple):
    """The size of a group: the widest output and the largest number of blocks among its members."""

    width: int
    blocks: int


@dataclass(frozen=True)
class Split:
    """A table of groups for each stage, with a row for each output width and a column for each depth, both ascending.

    Attributes:
        name: the number of groups for the rule by width, otherwise a word; part of a phase's name.
    """

    space: SearchSpace
    tables: tuple[Table, ...]
    name: str = field(compare=False)

    def __post_init__(self) -> None:
        if len(self.tables) != self.space.stages:
            raise InputError(
                f"split {self.name} has {len(self.tables)} tables, expected one for each of {self.space.stages} stages"
            )
        for stage, table in enumerate(self.tables):
            self._check(stage, table)

    def _check(self, stage: int, table: Table) -> None:
        least, most = self.space.depths[stage]
        rows, columns = len(self.space.widths(stage)), most - least + 1
        where = f"split {self.name}: the table of stage {stage + 1}"
        if len(table) != rows or any(len(row) != columns for row in table):
            raise InputError(
                f"{where} expects {rows} rows, one for each output width, of {columns} groups, one for each depth"
            )
        used = {group for row in table for group in row}
        if any(type(group) is not int for group in used) or used != set(range(len(used))):
            raise InputError(f"{where} has the groups {sorted(used, key=str)}, expected 0, 1, ... without a gap")

    def group_of(self, stage: int, width: int, depth: int) -> int:
        """The group that serves the blocks of a stage that has this output width and depth."""
        return self._groups[stage, width, depth]

    def capacities(self, stage: int) -> tuple[Capacity, ...]:
        """The size of each group of a stage."""
        return self._capacities[stage]

    @property
    def groups(self) -> int:
        """The largest number of groups of any stage."""
        return max(map(len, self._capacities))

    @property
    def by_width(self) -> int | None:
        """The number of groups if this is the rule by width, otherwise None."""
        groups = self.groups
        return groups if groups <= MAX_GROUPS and self.tables == by_width(self.space, groups).tables else None

    def parent_group(self, parent: "Split", stage: int, group: int) -> int:
        """The parent's group that contains all members of a group.

        Raises:
            InputError: there is no such group, because this split does not refine the parent.
        """
        homes = {parent._groups[key] for key, each in self._groups.items() if key[0] == stage and each == group}
        if len(homes) > 1:
            raise InputError(
                f"split {self.name} does not refine split {parent.name}: group {group} of stage {stage + 1}"
                f" joins members of the groups {', '.join(map(str, sorted(homes)))}"
            )
        return homes.pop()

    def refines(self, parent: "Split") -> bool:
        """Whether each group lies within one group of the parent."""
        if self.space != parent.space:
            return False
        try:
            for stage in range(self.space.stages):
                for group in range(len(self.capacities(stage))):
                    self.parent_group(parent, stage, group)
        except InputError:
            return False
        return True

    def within(self, parent: "Split") -> "Split":
        """The coarsest split that refines both this one and a parent."""
        tables = []
        for ours, theirs in zip(self.tables, parent.tables, strict=True):
            pairs = [list(zip(*rows, strict=True)) for rows in zip(theirs, ours, strict=True)]
            number = {pair: group for group, pair in enumerate(sorted({pair for row in pairs for pair in row}))}
            tables.append(tuple(tuple(number[pair] for pair in row) for row in pairs))
        name = self.name if parent.groups == 1 else f"{parent.name}-{self.name}"
        return _named(Split(self.space, tuple(tables), name))

    def values(self) -> dict[str, Any]:
        """Plain values for files; `split_of` reads them. A split by width is its number of groups."""
        groups = self.by_width
        return {"groups": groups or {"name": self.name, "tables": self.tables}}

    @cached_property
    def _groups(self) -> Mapping[tuple[int, int, int], int]:
        """Groups by stage, width and depth."""
        found = {}
        for stage, table in enumerate(self.tables):
            least, most = self.space.depths[stage]
            members = product(self.space.widths(stage), range(least, most + 1))
            for (width, depth), group in zip(members, (group for row in table for group in row), strict=True):
                found[stage, width, depth] = group
        return found

    @cached_property
    def _capacities(self) -> tuple[tuple[Capacity, ...], ...]:
        found: list[dict[int, Capacity]] = [{} for _ in self.tables]
        for (stage, width, depth), group in self._groups.items():
            so_far = found[stage].get(group, Capacity(0, 0))
            found[stage][group] = Capacity(max(width, so_far.width), max(depth, so_far.blocks))
        return tuple(tuple(stage[group] for group in sorted(stage)) for stage in found)


def by_width(space: SearchSpace, groups: int) -> Split:
    """Split every stage by output width, into a group for each of its `groups` largest widths.

    A group serves the widths up to its own and above the next smaller group's; the last one serves
    all smaller widths. A stage with fewer distinct widths has fewer groups. A split into one group
    is the one-shot supernet.

    Raises:
        InputError: `groups` is not in 1..7.
    """
    if not 1 <= groups <= MAX_GROUPS:
        raise InputError(f"groups is {groups}, expected 1..{MAX_GROUPS}")

    def group(stage: int, row: int, column: int) -> int:
        return max(0, row - max(0, len(space.widths(stage)) - groups))

    return Split(space, _tables(space, group), str(groups))


def by_depth(space: SearchSpace, stages: Sequence[int], groups: int) -> Split:
    """Split the given stages into `groups` ranges of depths, as equal as possible, and no other stage.

    Raises:
        InputError: there is no such stage, or it has fewer depths than groups.
    """
    columns = [most - least + 1 for least, most in space.depths]
    for stage in stages:
        if not 0 <= stage < space.stages:
            raise InputError(f"stage {stage + 1} cannot be split by depth, expected one of 1..{space.stages}")
        if not 1 <= groups <= columns[stage]:
            raise InputError(f"stage {stage + 1} has {columns[stage]} depths, too few for {groups} groups")

    def group(stage: int, row: int, column: int) -> int:
        return column * groups // columns[stage] if stage in stages else 0

    name = f"depth{''.join(str(stage + 1) for stage in sorted(set(stages)))}x{groups}"
    return _named(Split(space, _tables(space, group), name))


def explicit(space: SearchSpace, tables: Any, name: str) -> Split:
    """A split from nested lists, as JSON has them.

    Raises:
        InputError: the lists are not a table for each stage of the space.
    """
    if not (_all_lists([tables]) and _all_lists(tables) and all(map(_all_lists, tables))):
        raise InputError(f"split {name}: expected for each stage a list of rows, each a list of groups")
    return _named(Split(space, tuple(tuple(tuple(row) for row in table) for table in tables), name))


def split_of(space: SearchSpace, values: Mapping[str, Any]) -> Split:
    """The split that `Split.values` described.

    Raises:
        InputError: the values do not describe a split.
        KeyError, TypeError: they do not have the form of such values.
    """
    groups = values["groups"]
    return by_width(space, groups) if isinstance(groups, int) else explicit(space, groups["tables"], groups["name"])


def _all_lists(values: Any) -> bool:
    return all(isinstance(value, list | tuple) for value in values)


def _named(split: Split) -> Split:
    """The split, named by its number of groups if it is the rule by width."""
    groups = split.by_width
    return by_width(split.space, groups) if groups else split


def _tables(space: SearchSpace, group: Callable[[int, int, int], int]) -> tuple[Table, ...]:
    return tuple(
        tuple(
            tuple(group(stage, row, column) for column in range(most - least + 1))
            for row in range(len(space.widths(stage)))
        )
        for stage, (least, most) in enumerate(space.depths)
    )
