"""Whether bounds can be met: an integer programme over the choices that make an arch, which is exact.

A slot that several parts of a network read (an output width) is shared, one that only a block reads (its middle width,
its kind) is its own. Blocks that differ in nothing but their own slot, such as those of a stage after its first,
form a class, because their order changes no cost. A cost of an arch then follows from the options at the shared slots,
the depths, and how many blocks of each class take each of their own options.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Head
from fewshot_nas.space.cost import Bound, Limits, Measure, shown
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


PATIENCE_S = 10.0  # for one programme; most take hundredths of a second
_INFEASIBLE = 2  # scipy's status of a programme that is proven to have no solution


def feasible_arch(limits: Limits, options: Options) -> Arch:
    """An arch within all bounds.

    Args:
        options: those to choose from, at each slot.

    Raises:
        InputError: there is none. The message names the first bound that cannot be met together with the
            bounds before it, and the values that its measure can reach within those.
    """
    programme = _Programme(Decisions(limits.space, options), limits)
    if (found := programme.solved(limits.bounds)) is not None:
        return found
    # The bounds up to the first one that cannot be met together with those before it.
    shorter = (limits.bounds[:count] for count in range(1, len(limits.bounds)))
    *before, bound = next((some for some in shorter if programme.solved(some) is None), limits.bounds)
    low, high = (programme.extreme(before, bound.name, sign) for sign in (1, -1))
    given = f"with {' and '.join(map(str, before))}, " if before else ""
    inside = " and no network lies between the two bounds" if low <= bound.high and bound.low <= high else ""
    reached = f"from {shown(bound.name, low)} to {shown(bound.name, high)}"
    raise InputError(f"no network has {bound}: {given}{bound.name} reaches {reached}{inside}")


class _Programme:
    """The integer programme: a column for each choice, rows for the structure of an arch and for the bounds."""

    def __init__(self, decisions: Decisions, limits: Limits) -> None:
        self._decisions, self._limits = decisions, limits
        self._structure, self._most = _structure(decisions), np.array(decisions.most())
        self._costs = {bound.name: self._costs_of(limits.measures[bound.name]) for bound in limits.bounds}

    def _costs_of(self, measure: Measure) -> Any:
        own = [self._decisions.cost(measure, each) for each in self._decisions.all]
        return np.array([*[0.0] * len(self._decisions.slots), *own])

    def solved(self, bounds: Sequence[Bound]) -> Arch | None:
        """An arch within these bounds, or None if it is proven that there is none."""
        nothing = np.zeros(len(self._most))
        if self._optimum(nothing, bounds, 0.0, whole=False) is None:
            return None  # not even fractions of blocks meet the bounds, which is faster to prove
        # The solver's sums have rounding errors. If its arch misses a bound by them, the bounds are tightened a little.
        for margin in (0.0, 1e-6):
            taken = self._optimum(nothing, bounds, margin)
            arch = None if taken is None else self._arch(taken)
            if arch is None or Limits(self._limits.space, bounds, self._limits.measures).fits(arch):
                return arch
        return None

    def extreme(self, bounds: Sequence[Bound], name: str, sign: int) -> float:
        """The smallest (sign 1) or largest (-1) value of a measure within bounds that can be met."""
        costs = self._costs[name]
        taken = self._optimum(sign * costs / costs.max(), bounds, 0.0)
        assert taken is not None, "these bounds can be met"
        return self._limits.measures[name].of(self._limits.space, self._arch(taken))

    def _arch(self, taken: Sequence[int]) -> Arch:
        slots = len(self._decisions.slots)
        return self._decisions.arch(taken[:slots], taken[slots:])

    def _optimum(
        self, objective: Any, bounds: Sequence[Bound], margin: float, *, whole: bool = True
    ) -> list[int] | None:
        """The number of times that each column is taken; None if nothing is within the bounds.

        Args:
            whole: whether the numbers must be whole.
        """
        result = milp(
            objective,
            integrality=np.full(len(self._most), whole),
            bounds=Bounds(0, self._most),
            constraints=[self._structure, *(_row(self._costs[bound.name], bound, margin) for bound in bounds)],
            options={"time_limit": PATIENCE_S, "mip_rel_gap": 0},
        )
        if result.x is not None:
            return list(map(round, result.x))
        if result.status == _INFEASIBLE:
            return None
        said = " and ".join(map(str, bounds))
        raise InputError(f"no network with {said} was found within {PATIENCE_S:.0f} s; widen the bounds")


def _row(costs: Any, bound: Bound, margin: float) -> LinearConstraint:
    """The row of a bound, divided by the bound, so that one tolerance suits multiply-adds and milliseconds."""
    scale = bound.high if 0 < bound.high < math.inf else max(bound.low, 1.0)
    low = bound.low / scale + margin if bound.low > -math.inf else -math.inf
    return LinearConstraint((costs / scale)[None], low, bound.high / scale - margin)


def _structure(decisions: Decisions) -> LinearConstraint:
    rows = list(decisions.rows())
    matrix = lil_matrix((len(rows), len(decisions.most())))
    for number, (entries, _, _) in enumerate(rows):
        for column, value in entries.items():
            matrix[number, column] = value
    return LinearConstraint(matrix.tocsr(), [low for _, low, _ in rows], [high for _, _, high in rows])
