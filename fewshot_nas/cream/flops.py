"""The cost of a path, and the depths and resolution that fit into a FLOPs budget. Standard library only.

FLOPs are counted here as in the public code's table: one per multiply-add of a convolution, one per
bias, two per batch norm element, and one per element that squeeze-and-excitation pools or rectifies.
The stem's norm and the classifier do not count. Bounds are in millions. MACs are multiply-adds only.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from fewshot_nas.cream.bounded import Bounded
from fewshot_nas.cream.paths import CHOICES, PRIOR, STAGES, CreamPath
from fewshot_nas.cream.space import DIVISOR, PUBLISHED, CreamSpace
from fewshot_nas.errors import InputError
from fewshot_nas.space.block import Cost, side_after
from fewshot_nas.space.space import round_width

FULL_PX, STEP_PX, LEAST_PX = 224, 32, 64
_MILLION = 1_000_000
_CHEAPEST, _DEAREST = 0, CHOICES - 1
_ORDER = (2, 3, 4, 1, 0)  # the order in which stages grow
_LIMITS = ((3, 3, 3, 2, 2), (4, 4, 4, 4, 4))  # for each of the two rounds, the largest depths, in that order


class Tally(NamedTuple):
    """The cost of a part of a network for one image; `extra` are the FLOPs that are not MACs."""

    macs: int
    params: int
    extra: int


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
    costs = [
        [cell.macs + cell.extra for cell in place]
        for place in zip(*(_cells(path, resolution, budget.space) for path in extremes), strict=True)
    ]
    fixed = budget.flops(extremes[0]) - sum(place[0] for place in costs)
    return Bounded(costs, probabilities, budget.minimum * _MILLION - fixed, budget.maximum * _MILLION - fixed)


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
    fixed = _sum(_fixed_parts(resolution, 3, space))
    return fixed.macs + fixed.extra + _blocks_flops(path, resolution, space)


def path_cost(
    path: CreamPath, resolution: int, *, num_classes: int = 1000, in_channels: int = 3, space: CreamSpace = PUBLISHED
) -> Cost:
    """Multiply-adds and parameters of the path's stand-alone network."""
    parts = _sum(chain(_fixed_parts(resolution, in_channels, space), _cells(path, resolution, space)))
    classifier = space.head_width * num_classes
    return Cost(parts.macs + classifier, parts.params + classifier + num_classes)


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
    return sum(cell.macs + cell.extra for cell in _cells(path, resolution, space))


def _cells(path: CreamPath, resolution: int, space: CreamSpace) -> Iterator[Tally]:
    """The costs of stages 1..5, block by block."""
    size, inputs = side_after(resolution, space.stem_stride), space.stem_width
    for stage, (out, stride) in zip(path, space.stages, strict=True):
        for kernel, expansion in map(space.choices.__getitem__, stage):
            yield _cell(kernel, expansion * inputs, inputs, out, stride, size)
            size = side_after(size, stride)
            inputs, stride = out, 1


@lru_cache(maxsize=1 << 12)
def _cell(kernel: int, width: int, inputs: int, out: int, stride: int, size: int) -> Tally:
    """The cost of one inverted residual on an input of `size` x `size`."""
    after = side_after(size, stride)
    expand, depthwise = _convolution(inputs, width, 1, size), _convolution(1, width, kernel, after)
    return _sum([expand, depthwise, _squeeze(width, after), _convolution(width, out, 1, after)])


@lru_cache(maxsize=64)
def _fixed_parts(resolution: int, in_channels: int, space: CreamSpace) -> tuple[Tally, ...]:
    """The costs of all parts but stages 1..5 and the classifier."""
    first = last = side_after(resolution, space.stem_stride)
    for stage in space.stages:
        last = side_after(last, stage.stride)
    stem, (*_, final) = space.stem_width, space.widths
    return (
        _convolution(in_channels, stem, 3, first)._replace(extra=0),  # the table forgets its norm
        _convolution(1, stem, 3, first),
        _squeeze(stem, first),
        _convolution(stem, stem, 1, first),
        _convolution(final, space.last_width, 1, last),
        Tally(0, 0, space.last_width * last**2),
        _convolution(space.last_width, space.head_width, 1, 1, vectors=1),
    )


def _convolution(inputs: int, out: int, kernel: int, size: int, vectors: int = 2) -> Tally:
    """The cost of a convolution with an output of `size` x `size`, and its norm (2 vectors) or bias (1)."""
    weights = kernel**2 * inputs * out
    return Tally(weights * size**2, weights + vectors * out, vectors * out * size**2)


def _squeeze(width: int, size: int) -> Tally:
    """The cost of squeeze-and-excitation: pool, narrow, rectify, widen."""
    narrow = round_width(width / 4, DIVISOR)
    pool = Tally(0, 0, width * size**2 + narrow)
    return _sum([pool, _convolution(width, narrow, 1, 1, vectors=1), _convolution(narrow, width, 1, 1, vectors=1)])


def _sum(parts: Iterable[Tally]) -> Tally:
    return Tally(*map(sum, zip(*parts, strict=True)))
