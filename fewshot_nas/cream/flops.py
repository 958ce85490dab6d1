"""The cost of a path, and the depths and resolution that fit into a FLOPs budget. Standard library only.

FLOPs are counted here as in the public code's table: one per multiply-add of a convolution, one per
bias, two per batch norm element, and one per element that squeeze-and-excitation pools or rectifies.
The stem's norm and the classifier do not count. Bounds are in millions. MACs are multiply-adds only.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.paths import CHOICES, PRIOR, STAGES, CreamPath, arch_of, check_path
from fewshot_nas.cream.space import PUBLISHED, CreamSpace
from fewshot_nas.space.block import Block, Cost
from fewshot_nas.space.draw import Bounded

FULL_PX, STEP_PX, LEAST_PX = 224, 32, 64
_MILLION = 1_000_000
_CHEAPEST, _DEAREST = 0, CHOICES - 1
_ORDER = (2, 3, 4, 1, 0)  # the order in which stages grow
_LIMITS = ((3, 3, 3, 2, 2), (4, 4, 4, 4, 4))  # for each of the two rounds, the largest depths, in that order


@dataclass(frozen=True)
class Budget:
    """Fixed depths and image size, and bounds in M FLOPs for the sampled paths.

    Attributes:
        legacy: whether to compare as the public code does: only the blocks count, at 224 pixels.
    """

    depths: tuple[int, ...]
    resolution: int
    minimum: float
    maximum: float
    legacy: bool = False
    space: CreamSpace = PUBLISHED

    def mflops(self, path: CreamPath) -> float:
        """The cost that is compared with the bounds, in M FLOPs."""
        return self.flops(path) / _MILLION

    def flops(self, path: CreamPath) -> int:
        """The same in FLOPs."""
        if self.legacy:
            return _blocks_flops(path, FULL_PX, self.space)
        return path_flops(path, self.resolution, self.space)

    def sample(self, rng: random.Random, probabilities: Sequence[float] = PRIOR) -> CreamPath:
        """Draw a path within the bounds, with the probabilities of the choices.

        Raises:
            InputError: no path was found within the bounds.
        """
        drawn = _bounded(self, tuple(probabilities)).draw(rng)
        if drawn is None:
            raise InputError(
                f"hardly any path of depths {self.depths} has {self.minimum:g} to {self.maximum:g} M FLOPs"
                f" at {self.resolution} px; widen FLOPS_MINIMUM and FLOPS_MAXIMUM"
            )
        choices = iter(drawn)
        return tuple(tuple(islice(choices, depth)) for depth in self.depths)


@lru_cache(maxsize=8)
def _bounded(budget: Budget, probabilities: tuple[float, ...]) -> Bounded:
    """The budget's tables, kept from one draw to the next."""
    extremes = [_uniform(budget.depths, choice) for choice in range(CHOICES)]
    resolution = FULL_PX if budget.legacy else budget.resolution
    costs = list(zip(*(_cells(path, resolution, budget.space) for path in extremes), strict=True))
    fixed = budget.flops(extremes[0]) - sum(place[0] for place in costs)
    return Bounded(
        costs, [probabilities] * len(costs), budget.minimum * _MILLION - fixed, budget.maximum * _MILLION - fixed
    )


def depths_for(
    minimum: float, maximum: float, *, resolution: int = FULL_PX, legacy: bool = False, space: CreamSpace = PUBLISHED
) -> Budget:
    """Choose depths and image size for bounds in M FLOPs.

    Each stage starts with one block. While even the cheapest network exceeds the maximum, images
    are made smaller. Then stages get more blocks until the most expensive network would exceed the
    maximum. Costs are those of whole paths at the size of their images.

    Args:
        resolution: side in pixels to start from.
        legacy: whether to use the public code's rule. It counts the blocks only, always at 224
            pixels, and raises both bounds by 7/6, then by 7/5, and so on as images shrink, although
            costs fall with the square.

    Raises:
        InputError: no depths and no resolution fit.
    """
    _check(minimum, maximum, resolution, legacy)
    budget = Budget((1,) * STAGES, resolution, minimum, maximum, legacy, space)
    while _extreme(budget, _CHEAPEST) > budget.maximum:
        budget = _shrunk(budget)
    return _grown(budget)


def budget_of(
    depths: Sequence[int],
    minimum: float,
    maximum: float,
    *,
    resolution: int = FULL_PX,
    legacy: bool = False,
    space: CreamSpace = PUBLISHED,
) -> Budget:
    """Bounds in M FLOPs for depths of one's own; images do not shrink.

    Raises:
        InputError: the depths are not five, or have no path within the bounds.
    """
    _check(minimum, maximum, resolution, legacy)
    if len(depths) != STAGES:
        raise InputError(f"DEPTHS are {list(depths)}, expected {STAGES} numbers")
    return _reachable(Budget(tuple(depths), resolution, minimum, maximum, legacy, space))


def _check(minimum: float, maximum: float, resolution: int, legacy: bool) -> None:
    if not 0 <= minimum <= maximum:
        raise InputError(f"FLOPs bounds are {minimum:g} to {maximum:g} M, expected 0 <= FLOPS_MINIMUM <= FLOPS_MAXIMUM")
    if legacy and resolution != FULL_PX:
        raise InputError(f"the legacy FLOPs rule starts from {FULL_PX} px, got {resolution}")


def path_flops(path: CreamPath, resolution: int, space: CreamSpace = PUBLISHED) -> int:
    """FLOPs of a path as in the public code's table: for colour images, without the classifier."""
    return _fixed_flops(resolution, space) + _blocks_flops(path, resolution, space)


def path_cost(
    path: CreamPath, resolution: int, *, num_classes: int = 1000, in_channels: int = 3, space: CreamSpace = PUBLISHED
) -> Cost:
    """Multiply-adds and parameters of the path's stand-alone network."""
    network = space.network(tuple(map(len, path)), in_channels, resolution)
    return network.cost(arch_of(path), num_classes=num_classes)


def _shrunk(budget: Budget) -> Budget:
    """The budget for the next smaller images; the legacy rule raises the bounds instead of lowering the costs."""
    resolution = budget.resolution - STEP_PX
    if resolution < LEAST_PX:
        raise InputError(
            f"FLOPS_MAXIMUM is too small for any network: at {budget.resolution} px the cheapest one costs"
            f" {_extreme(budget, _CHEAPEST):.1f} M, but the bound there is {budget.maximum:.1f} M"
        )
    raised = FULL_PX / resolution if budget.legacy else 1
    return replace(budget, resolution=resolution, minimum=budget.minimum * raised, maximum=budget.maximum * raised)


def _grown(budget: Budget) -> Budget:
    """The depths for the chosen resolution; they exceed the maximum only if the minimum requires it."""
    for deeper in _growth(budget):
        if _extreme(budget, _DEAREST) >= budget.minimum and _extreme(deeper, _DEAREST) > budget.maximum:
            break
        budget = deeper
    return _reachable(budget)


def _reachable(budget: Budget) -> Budget:
    """The budget itself, if its depths have paths on both sides of a bound."""
    cheapest, dearest = (_extreme(budget, choice) for choice in (_CHEAPEST, _DEAREST))
    if dearest < budget.minimum or cheapest > budget.maximum:
        raise InputError(
            f"no depths have paths of {budget.minimum:g} to {budget.maximum:g} M FLOPs at {budget.resolution} px:"
            f" depths {budget.depths} have {cheapest:.1f} to {dearest:.1f} M; change FLOPS_MINIMUM or FLOPS_MAXIMUM"
        )
    return budget


def _growth(budget: Budget) -> Iterator[Budget]:
    """Budgets that are deeper and deeper, by one block each."""
    depths = list(budget.depths)
    for limits in _LIMITS:
        for stage, limit in zip(_ORDER, limits, strict=True):
            while depths[stage] < limit:
                depths[stage] += 1
                yield replace(budget, depths=tuple(depths))


def _extreme(budget: Budget, choice: int) -> float:
    """M FLOPs of the path that has the same choice in all blocks."""
    return budget.mflops(_uniform(budget.depths, choice))


def _uniform(depths: Sequence[int], choice: int) -> CreamPath:
    return tuple((choice,) * depth for depth in depths)


def _blocks_flops(path: CreamPath, resolution: int, space: CreamSpace) -> int:
    return sum(_cells(path, resolution, space))


def _cells(path: CreamPath, resolution: int, space: CreamSpace) -> list[int]:
    """The FLOPs of stages 1..5, block by block."""
    network = space.network(tuple(map(len, path)))
    sides = network.sides(resolution)
    blocks = network.blocks(arch_of(check_path(path)))
    return [_flops(block, sides[place]) for place, block in blocks if network.places[place].choice is not None]


@lru_cache(maxsize=64)
def _fixed_flops(resolution: int, space: CreamSpace) -> int:
    """The FLOPs of all parts but stages 1..5 and the classifier."""
    network = space.network((1,) * STAGES)
    sides = network.sides(resolution)
    parts = [(place, block) for place, block in network.blocks(network.smallest)]
    fixed = sum(_flops(block, sides[place]) for place, block in parts if network.places[place].choice is None)
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
