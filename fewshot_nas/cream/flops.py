"""The cost of a path; depths, resolution and draws that fit into a FLOPs budget. Standard library only.

FLOPs are counted here as in the public code's table: one per multiply-add of a convolution, one per
bias, two per batch norm element, and one per element that squeeze-and-excitation pools or rectifies.
The stem's norm and the classifier do not count. Bounds are in millions. MACs are multiply-adds only.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.model import FULL_PX, PUBLISHED, STAGES, CreamSpace
from fewshot_nas.space.block import Block
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import Arch

PRIOR = (0.05, 0.2, 0.05, 0.5, 0.05, 0.15)  # probability of each choice
UNIFORM = (1 / 6,) * 6
STEP_PX, LEAST_PX = 32, 64
_MILLION = 1_000_000
_UNITS = 1 << 10  # costs are rounded to this fraction of the most expensive sequence's cost
_MOST_DRAWS = 1000
_ORDER = (2, 3, 4, 1, 0)  # the order in which stages grow
_LIMITS = ((3, 3, 3, 2, 2), (4, 4, 4, 4, 4))  # for each of the two rounds, the largest depths, in that order


@dataclass(frozen=True)
class Budget:
    """A space, whose depths and image size are those of all paths, and bounds in M FLOPs for the sampled ones.

    Attributes:
        legacy: whether to compare as the public code does: only the blocks count, at 224 pixels.
    """

    space: MBConvSpace
    minimum: float
    maximum: float
    legacy: bool = False

    def mflops(self, arch: Arch) -> float:
        """The cost that is compared with the bounds, in M FLOPs."""
        return self.flops(arch) / _MILLION

    def flops(self, arch: Arch) -> int:
        """The same in FLOPs."""
        return sum(_cells(self.space, arch, FULL_PX)) if self.legacy else path_flops(self.space, arch)

    def sample(self, rng: random.Random, probabilities: Sequence[float] = PRIOR) -> Arch:
        """Draw a path within the bounds, with the probabilities of the choices.

        Raises:
            InputError: no path was found within the bounds.
        """
        drawn = _bounded(self, tuple(probabilities)).draw(rng)
        if drawn is None:
            raise InputError(
                f"hardly any path of depths {self.space.lengths} has {self.minimum:g} to {self.maximum:g} M FLOPs"
                f" at {self.space.resolution} px; widen FLOPS_MINIMUM and FLOPS_MAXIMUM"
            )
        return drawn

    def extremes(self) -> tuple[float, float]:
        """M FLOPs of the cheapest path and of the dearest one."""
        return self.mflops(self.space.smallest), self.mflops(self.space.largest)


@lru_cache(maxsize=8)
def _bounded(budget: Budget, probabilities: tuple[float, ...]) -> "Bounded":
    """The budget's tables, kept from one draw to the next."""
    space, resolution = budget.space, FULL_PX if budget.legacy else budget.space.resolution
    alike = [(choice,) * len(space.slots) for choice in range(len(space.choices))]
    costs = list(zip(*(_cells(space, arch, resolution) for arch in alike), strict=True))
    fixed = budget.flops(alike[0]) - sum(place[0] for place in costs)
    return Bounded(
        costs, [probabilities] * len(costs), budget.minimum * _MILLION - fixed, budget.maximum * _MILLION - fixed
    )


def budget_for(
    minimum: float,
    maximum: float,
    depths: Sequence[int] = (),
    *,
    resolution: int = FULL_PX,
    legacy: bool = False,
    shape: CreamSpace = PUBLISHED,
) -> Budget:
    """Bounds in M FLOPs, with depths and image size that suit them.

    Each stage starts with one block. While even the cheapest network exceeds the maximum, images
    are made smaller. Then stages get more blocks until the most expensive network would exceed the
    maximum. Costs are those of whole paths at the size of their images.

    Args:
        depths: your own, for which images do not shrink; none are given: as above.
        resolution: side in pixels to start from.
        legacy: whether to use the public code's rule. It counts the blocks only, always at 224
            pixels, and raises both bounds by 7/6, then by 7/5, and so on as images shrink, although
            costs fall with the square.

    Raises:
        InputError: no depths and no resolution fit, or your own have no path within the bounds.
    """
    if not 0 <= minimum <= maximum:
        raise InputError(f"FLOPs bounds are {minimum:g} to {maximum:g} M, expected 0 <= FLOPS_MINIMUM <= FLOPS_MAXIMUM")
    if legacy and resolution != FULL_PX:
        raise InputError(f"the legacy FLOPs rule starts from {FULL_PX} px, got {resolution}")
    if len(depths) not in (0, STAGES):
        raise InputError(f"DEPTHS are {list(depths)}, expected {STAGES} numbers")
    budget = Budget(shape.of(depths or (1,) * STAGES, resolution), minimum, maximum, legacy)
    while not depths and budget.extremes()[0] > budget.maximum:
        budget = _shrunk(budget)
    for deeper in () if depths else _growth(budget):
        # Depths exceed the maximum only if the minimum requires it.
        if budget.extremes()[1] >= budget.minimum and deeper.extremes()[1] > budget.maximum:
            break
        budget = deeper
    cheapest, dearest = budget.extremes()
    if dearest < budget.minimum or cheapest > budget.maximum:
        raise InputError(
            f"no depths have paths of {budget.minimum:g} to {budget.maximum:g} M FLOPs at {budget.space.resolution} px:"
            f" depths {budget.space.lengths} have {cheapest:.1f} to {dearest:.1f} M; change FLOPS_MINIMUM or"
            " FLOPS_MAXIMUM"
        )
    return budget


def _shrunk(budget: Budget) -> Budget:
    """The budget for the next smaller images; the legacy rule raises the bounds instead of lowering the costs."""
    before = budget.space.resolution
    resolution = before - STEP_PX
    if resolution < LEAST_PX:
        raise InputError(
            f"FLOPS_MAXIMUM is too small for any network: at {before} px the cheapest one costs"
            f" {budget.extremes()[0]:.1f} M, but the bound there is {budget.maximum:.1f} M"
        )
    raised, space = FULL_PX / resolution if budget.legacy else 1, replace(budget.space, resolution=resolution)
    return replace(budget, space=space, minimum=budget.minimum * raised, maximum=budget.maximum * raised)


def _growth(budget: Budget) -> Iterator[Budget]:
    """Budgets that are deeper and deeper, by one block each."""
    depths = list(budget.space.lengths)
    for limits in _LIMITS:
        for stage, limit in zip(_ORDER, limits, strict=True):
            while depths[stage] < limit:
                depths[stage] += 1
                yield replace(budget, space=replace(budget.space, lengths=tuple(depths)))


def path_flops(space: MBConvSpace, arch: Arch) -> int:
    """FLOPs of a path as in the public code's table, without the classifier."""
    return _fixed_flops(space) + sum(_cells(space, arch, space.resolution))


def _cells(space: MBConvSpace, arch: Arch, resolution: int) -> list[int]:
    """The FLOPs of stages 1..5, block by block."""
    sides = space.sides(resolution)
    return [_flops(block, sides[place]) for place, block in space.blocks(arch) if space.places[place].reads]


@lru_cache(maxsize=64)
def _fixed_flops(space: MBConvSpace) -> int:
    """The FLOPs of all parts but stages 1..5 and the classifier."""
    sides, blocks = space.sides(), space.blocks(space.smallest)
    fixed = sum(_flops(block, sides[place]) for place, block in blocks if not space.places[place].reads)
    stem_norm = 2 * space.stem_width * sides[1] ** 2  # the table forgets it
    return fixed - stem_norm + space.last_width * sides[-1] ** 2 + (space.last_width + 1) * space.head_width


@lru_cache(maxsize=1 << 12)
def _flops(block: Block, side: int) -> int:
    """The FLOPs of a block on an input of `side` x `side`: its multiply-adds, norms, and squeezes."""
    found = block.cost(side).macs
    for op, after in zip(block.ops(), block.sides(side), strict=True):
        found += 2 * op.out * after**2
        if op.squeeze:
            found += op.out * after**2 + op.squeeze + op.squeeze + op.out  # pooled, rectified; the two biases
    return found


class Bounded:
    """Draws sequences with one index for each row of costs, such that their total cost lies within bounds.

    Drawing freely until the bounds are met takes too long if they exclude what is likely. Instead, a table of rounded
    costs gives every choice only the probability with which the bounds can still be met. A sequence that meets them
    only because of rounding is drawn again. So the result has exactly the distribution of drawing freely and keeping
    what lies within the bounds.

    Args:
        costs: the cost of each choice at each place.
        probabilities: the probability of each choice at each place.
        minimum, maximum: bounds of the total cost.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], probabilities: Sequence[Sequence[float]], minimum: float, maximum: float
    ) -> None:
        self._costs, self._probabilities, self._minimum, self._maximum = costs, probabilities, minimum, maximum
        unit = sum(map(max, costs)) / _UNITS
        self._rounded = [[int(cost / unit) for cost in row] for row in costs]
        # Rounding lowers each cost by less than one unit.
        self._low, self._high = minimum / unit - len(costs), math.floor(maximum / unit)
        self._chance = lru_cache(maxsize=None)(self._chance_from)

    def draw(self, rng: random.Random) -> tuple[int, ...] | None:
        """A sequence within the bounds; None if there is none, or none was found in many draws."""
        for _ in range(_MOST_DRAWS if self._chance(0, 0) else 0):
            drawn = self._proposal(rng)
            if (
                self._minimum
                <= sum(row[choice] for row, choice in zip(self._costs, drawn, strict=True))
                <= self._maximum
            ):
                return drawn
        return None

    def _proposal(self, rng: random.Random) -> tuple[int, ...]:
        """A sequence whose rounded costs meet the bounds."""
        drawn: list[int] = []
        spent = 0
        for place, row in enumerate(self._rounded):
            weights = [
                probability * self._chance(place + 1, spent + cost)
                for probability, cost in zip(self._probabilities[place], row, strict=True)
            ]
            drawn.append(pick(rng, weights))
            spent += row[drawn[-1]]
        return tuple(drawn)

    def _chance_from(self, place: int, spent: int) -> float:
        """The probability that the rounded costs meet the bounds, given the cost of the places before this one."""
        if place == len(self._costs):
            return float(self._low <= spent <= self._high)
        return sum(
            probability * self._chance(place + 1, spent + cost)
            for probability, cost in zip(self._probabilities[place], self._rounded[place], strict=True)
        )


def pick(rng: random.Random, weights: Sequence[float]) -> int:
    """Draw an index with probability proportional to its weight; an index of weight 0 is never drawn."""
    sums = list(accumulate(weights))
    point = rng.random() * sums[-1]
    return next(
        (index for index, reached in enumerate(sums) if point < reached),
        max(index for index, weight in enumerate(weights) if weight),  # rounding put the point at the very end
    )
