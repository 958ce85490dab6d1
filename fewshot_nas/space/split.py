"""Which group of a supernet's tensors serves a block: a rule for each place, and the usual ways to make rules.

Few-shot NAS (arXiv:2006.06863) trains separate weights for groups of subnets. Here a block's group follows from the
options at some slots of the arch: from its stage's output width, or from any choice.
A choice that has tensors of its own in the one-shot supernet already is the same thing: a group for each option.
Stages, places and groups are counted from 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Head, Placed, widest
from fewshot_nas.space.space import Arch, Space, present

MAX_GROUPS = 7  # of a split by width; the competition's space has so many digits
Home = tuple[int, int]


class Rule(NamedTuple):
    """The group at one place.

    Attributes:
        reads: numbers of the slots that decide, ascending.
        groups: the group for each combination of their options.
    """

    reads: tuple[int, ...]
    groups: Mapping[tuple[int, ...], int]

    def group(self, arch: Sequence[int]) -> int:
        return self.groups[tuple(arch[slot] for slot in self.reads)]

    @property
    def size(self) -> int:
        return 1 + max(self.groups.values())


EVERYTHING = Rule((), {(): 0})


@dataclass(frozen=True)
class Split:
    """A rule for each place of a space, and one for the head.

    Attributes:
        name: the number of groups for the one-shot supernet (1) and for the rule by width, otherwise a word; part of
            a phase's name.
    """

    space: Space
    rules: tuple[Rule, ...] = field(hash=False)  # they hold dicts
    name: str = field(default="own", compare=False)

    def __post_init__(self) -> None:
        if len(self.rules) != len(self.space.places) + 1:
            raise InputError(
                f"split {self.name} has {len(self.rules)} rules, expected {len(self.space.places) + 1}, one for each"
                " place and one for the head"
            )
        for rule in self.rules:
            used = set(rule.groups.values())
            if any(type(group) is not int for group in used) or used != set(range(len(used))):
                raise InputError(
                    f"split {self.name} has the groups {sorted(used, key=str)}, expected 0, 1, ... without a gap"
                )

    def network(self, arch: Arch) -> tuple[Placed, ...]:
        """The blocks of an arch, each with its home: the place, and the group that serves it there.

        Raises:
            InputError: the arch does not belong to the space.
        """
        return tuple(Placed(block, (place, self.rules[place].group(arch))) for place, block in self.space.blocks(arch))

    def head(self, arch: Arch) -> tuple[Head, Home]:
        """The head of an arch and its home."""
        return self.space.known_head(arch), (len(self.space.places), self.rules[-1].group(arch))

    def counts(self) -> list[int]:
        found = [1] * self.space.stages
        for place, rule in zip(self.space.places, self.rules, strict=False):
            if place.stage >= 0:
                found[place.stage] = max(found[place.stage], rule.size)
        return found

    @property
    def groups(self) -> int:
        return max(rule.size for rule in self.rules)

    @property
    def by_width(self) -> int | None:
        """The number of groups if this is the one-shot supernet's or the rule by width, otherwise None."""
        if self == one_shot(self.space):
            return 1
        if not 1 < self.groups <= MAX_GROUPS or all(place.out is None for place in self.space.places):
            return None
        return self.groups if self == by_width(self.space, self.groups) else None

    @cached_property
    def homes(self) -> Mapping[Home, Block]:
        """For each place and group, the block whose tensors contain those of all blocks that it serves."""
        found: dict[Home, Block] = {}
        for number, (place, rule) in enumerate(zip(self.space.places, self.rules, strict=False)):
            members: dict[int, dict[Block, None]] = {}
            for arch in self.space.archs_that_read(_joined(place.reads, rule.reads), self.space.all_options):
                if present(place.when, arch):
                    members.setdefault(rule.group(arch), {})[self.space.known_block(number, arch)] = None
            found |= {(number, group): widest(blocks) for group, blocks in sorted(members.items())}
        return found

    @cached_property
    def heads(self) -> Mapping[Home, Head]:
        """For each group of the head, the widest head that it serves."""
        rule, found = self.rules[-1], dict[Home, Head]()
        for arch in self.space.archs_that_read(_joined(self.space.head_reads, rule.reads), self.space.all_options):
            home, head = (len(self.space.places), rule.group(arch)), self.space.known_head(arch)
            found[home] = max(found.get(home, head), head)
        return dict(sorted(found.items()))

    def parent_home(self, parent: "Split", home: Home) -> Home:
        """The parent's home that serves all blocks that a home serves.

        Raises:
            InputError: there is no such home, because this split does not refine the parent.
        """
        ours, theirs = self.rules[home[0]], parent.rules[home[0]]
        homes = {there for here, there in _pairs(self.space, ours, theirs) if here == home[1]}
        if len(homes) > 1:
            raise InputError(
                f"split {self.name} does not refine split {parent.name}: group {home[1]} of {self._where(home[0])}"
                f" joins members of the groups {', '.join(map(str, sorted(homes)))}"
            )
        return home[0], homes.pop()

    def _where(self, place: int) -> str:
        if place == len(self.space.places):
            return "the head"
        stage = self.space.places[place].stage
        return f"stage {stage + 1}" if stage >= 0 else "the stem"

    def refines(self, parent: "Split") -> bool:
        """Whether each group lies within one group of the parent."""
        if self.space != parent.space:
            return False
        return all(
            len({*pairs}) == len({here for here, _ in pairs})
            for pairs in (list(_pairs(self.space, *both)) for both in zip(self.rules, parent.rules, strict=True))
        )

    def within(self, parent: "Split") -> "Split":
        """The coarsest split that refines both this one and a parent."""
        rules = tuple(_product(self.space, *both) for both in zip(parent.rules, self.rules, strict=True))
        name = self.name if parent == one_shot(self.space) else f"{parent.name}-{self.name}"
        return named(Split(self.space, rules, name))

    def values(self) -> dict[str, Any]:
        """Plain values for files; `split_of` reads them. A split by width is its number of groups."""
        groups = self.by_width
        if groups:
            return {"groups": groups}
        distinct = list(dict.fromkeys(_frozen(rule) for rule in self.rules))
        rules = [
            {"reads": list(reads), "groups": [[list(key), group] for key, group in each]} for reads, each in distinct
        ]
        return {"groups": {"name": self.name, "rules": rules, "of": [distinct.index(_frozen(r)) for r in self.rules]}}


def one_shot(space: Space) -> Split:
    """The one-shot supernet: all archs share tensors, but for choices that have tensors of their own."""
    rules = (_by(space, (place.choice,)) if place.choice is not None else EVERYTHING for place in space.places)
    return Split(space, (*rules, EVERYTHING), "1")


def shared(space: Space) -> Split:
    """A supernet in which the choices at a place share tensors, too: leading channels, and the centre of kernels."""
    return Split(space, (EVERYTHING,) * (len(space.places) + 1), "shared")


def by_width(space: Space, groups: int) -> Split:
    """Split every stage by output width, into a group for each of its `groups` largest widths.

    A group serves the widths up to its own and above the next smaller group's; the last one serves all smaller
    widths. A stage with fewer distinct widths has fewer groups. The head is split like the last block.

    Raises:
        InputError: `groups` is not in 1..7, or the space has no choice of output widths.
    """
    if not 1 <= groups <= MAX_GROUPS:
        raise InputError(f"groups is {groups}, expected 1..{MAX_GROUPS}")
    if groups == 1:
        return one_shot(space)
    if not any(place.out is not None for place in space.places):
        raise InputError(
            f"space {space.name} has no choice of output widths to split by; --split_by=choice splits by others"
        )
    rules = [_by_out(space, number, groups) for number in range(len(space.places))]
    return Split(space, (*rules, rules[-1]), str(groups))


def _by_out(space: Space, number: int, groups: int) -> Rule:
    out = space.places[number].out
    if out is None:
        return EVERYTHING
    archs = list(space.archs_that_read((out,), space.all_options))
    widths = sorted({space.block_at(number, arch).out for arch in archs})
    merged = max(0, len(widths) - groups)  # so many of the smallest widths join the next one's group
    found: dict[tuple[int, ...], int] = {
        (arch[out],): max(0, widths.index(space.block_at(number, arch).out) - merged) for arch in archs
    }
    return Rule((out,), found)


def by_choice(space: Space, slots: Sequence[str]) -> Split:
    """Split the whole supernet by the options at the given slots, a group for each combination (arXiv:2006.06863).

    Raises:
        InputError: there is no such slot, or it is not in every arch.
    """
    smallest = [min(slot.options) for slot in space.slots]
    known = {slot.name: number for number, slot in enumerate(space.slots) if present(slot.when, smallest)}
    for name in slots:
        if name not in known:
            raise InputError(f"slot {name!r} is not one to split by, expected one of {', '.join(known)}")
    rule = _by(space, sorted({known[name] for name in slots}))
    word = "".join(name.replace(" ", "") for name in slots)
    return Split(space, (rule,) * (len(space.places) + 1), f"choice{word}")


def split_of(space: Space, values: Mapping[str, Any]) -> Split:
    """The split that `Split.values` described.

    Raises:
        InputError: the values do not describe a split.
        KeyError, TypeError, ValueError: they do not have the form of such values.
    """
    groups = values["groups"]
    if isinstance(groups, int):
        return by_width(space, groups)
    rules = [Rule(tuple(r["reads"]), {tuple(key): group for key, group in r["groups"]}) for r in groups["rules"]]
    return named(Split(space, tuple(rules[number] for number in groups["of"]), groups["name"]))


def named(split: Split) -> Split:
    """The split, named by its number of groups if it is the one-shot supernet's or the rule by width."""
    groups = split.by_width
    return by_width(split.space, groups) if groups else split


def _by(space: Space, slots: Sequence[int]) -> Rule:
    """A group for each combination of options."""
    keys = product(*(space.slots[slot].options for slot in slots))
    return Rule(tuple(slots), {key: group for group, key in enumerate(keys)})


def _product(space: Space, *rules: Rule) -> Rule:
    """The coarsest rule that refines all rules; its groups are in the order of theirs."""
    reads = _joined(*(rule.reads for rule in rules))
    found = {key: tuple(rule.group(arch) for rule in rules) for key, arch in _keys(space, reads)}
    number = {groups: at for at, groups in enumerate(sorted(set(found.values())))}
    return reduced(Rule(reads, {key: number[groups] for key, groups in found.items()}))


def reduced(rule: Rule) -> Rule:
    """The same rule without slots on which no group depends, so that equal rules are equal values."""
    for at in range(len(rule.reads)):
        shorter: dict[tuple[int, ...], int] = {}
        if all(shorter.setdefault((*k[:at], *k[at + 1 :]), group) == group for k, group in rule.groups.items()):
            return reduced(Rule((*rule.reads[:at], *rule.reads[at + 1 :]), shorter))
    return rule


def _pairs(space: Space, ours: Rule, theirs: Rule) -> Iterator[tuple[int, int]]:
    for _, arch in _keys(space, _joined(ours.reads, theirs.reads)):
        yield ours.group(arch), theirs.group(arch)


def _keys(space: Space, reads: Sequence[int]) -> Iterator[tuple[tuple[int, ...], Sequence[int]]]:
    for arch in space.archs_that_read(reads, space.all_options):
        yield tuple(arch[slot] for slot in reads), arch


def _joined(*slots: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({slot for each in slots for slot in each}))


def _frozen(rule: Rule) -> tuple[tuple[int, ...], tuple[tuple[tuple[int, ...], int], ...]]:
    return rule.reads, tuple(sorted(rule.groups.items()))
