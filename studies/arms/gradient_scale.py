"""Gradients that are scaled by the inverse of how often each weight is trained.

Leading channels and first blocks belong to more archs than the others, so they get more gradients.
The exact number is known, because the choices of a step's archs are uniform and independent. The optimizer calls the
scale as a hook, after the gradients have been averaged and clipped.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import largest, smallest
from fewshot_nas.space.search_space import SearchSpace

Kind = Literal["channel", "channel_depth"]
PerWeight = Mapping[nn.Parameter, Tensor]  # a number for each weight: [out, inputs], or [channels] for a vector


@dataclass(frozen=True)
class Chances:
    """The choices that an arch is drawn from, for each stage; all are uniform and independent."""

    outs: tuple[Sequence[int], ...]
    mids: tuple[Sequence[int], ...]
    depths: tuple[Sequence[int], ...]


def chances(space: SearchSpace, digits: Sequence[int], middle: int) -> list[Chances]:
    """For each arch of a step, the choices that it is drawn from, with `sampling: random` and `extremes: outs`.

    Args:
        digits: the digits 1..n of each stage that are drawn.
        middle: archs between the two ends.
    """
    options = tuple(range(1, count + 1) for count in digits)
    depths = tuple(range(low, high + 1) for low, high in space.depths)
    first, last = (replace(_only(arch), outs=options) for arch in (largest(space), smallest(space, digits)))
    return [first, *[Chances(options, options, depths)] * middle, last]


def _only(arch: Arch) -> Chances:
    """The choices of a single arch, whose middle digits are the same throughout a stage."""
    outs, depths = (tuple((each,) for each in values) for values in (arch.outs, arch.depths))
    return Chances(outs, tuple(tuple(set(mids)) for mids in arch.mids), depths)


class GradientScale:
    """Multiplies gradients by factors. The optimizer calls it as a hook before each step.

    Args:
        factors: for each parameter [out, inputs] or [channels]; all positions of a kernel share a factor.
    """

    def __init__(self, factors: PerWeight) -> None:
        self._factors = {
            parameter: factor.view(*factor.shape, *[1] * (parameter.dim() - factor.dim()))
            for parameter, factor in factors.items()
        }

    def __call__(self, *_: object) -> None:
        """Scale all existing gradients in place."""
        reached = [(each.grad, factor) for each, factor in self._factors.items() if each.grad is not None]
        if reached:
            torch._foreach_mul_([gradient for gradient, _ in reached], [factor for _, factor in reached])


def gradient_scale(supernet: Supernet, likely: Sequence[Chances], kind: Kind) -> GradientScale:
    """Scale gradients by the inverse of the mean number of archs of a step that train the weight.

    With `channel`, the factors of a parameter are normalised so that the sum of its expected
    gradients does not change: rarely trained channels move more, the others less. With
    `channel_depth`, the same is done for the blocks of a group too, because fewer archs have the
    last ones. A weight that no arch trains has factor 1.

    Args:
        likely: for each arch of a step, the choices that it is drawn from.
    """
    counts = trained_counts(supernet, likely)
    factors = {parameter: _inverse(count, _mean_of_reached(count)) for parameter, count in counts.items()}
    if kind == "channel_depth":
        for block, factor in _depth_factors(supernet, counts):
            for parameter in block.parameters():
                factors[parameter] = factors[parameter] * factor
    return GradientScale({parameter: factor.to(parameter) for parameter, factor in factors.items()})


def trained_counts(supernet: Supernet, likely: Sequence[Chances]) -> PerWeight:
    """The exact mean number of archs of a step that train each weight."""
    corners = {
        parameter: torch.zeros(parameter.shape[:2], dtype=torch.float64, device="cpu")
        for parameter in supernet.parameters()
    }
    for kind, alike in itertools.groupby(likely):
        times = len(list(alike))
        for stage in range(len(supernet.stages)):
            own, archs = _parameters(supernet, stage), list(_archs(kind, stage))
            slices = Counter(each for arch in archs for each in _slices(supernet, arch) if each[0] in own)
            for (parameter, sizes), count in slices.items():
                corners[parameter][tuple(size - 1 for size in sizes)] += times * count / len(archs)
    # A leading slice trains all weights up to its last one, so the counts are sums over larger slices.
    return {parameter: _summed_from_the_end(corner) for parameter, corner in corners.items()}


def _archs(chances: Chances, stage: int) -> Iterator[Arch]:
    """An arch for each combination of choices that the slices of a stage depend on; all are equally likely.

    The slices depend on the stage's digits and depth, and on the previous stage's out digit. No
    tensor depends on the middle digits of two blocks, so all blocks of an arch have the same one.
    """
    before = chances.outs[max(stage - 1, 0)]
    choices = (before if stage else (0,), chances.outs[stage], chances.mids[stage], chances.depths[stage])
    for previous, out, mid, depth in itertools.product(*choices):
        outs = [options[0] for options in chances.outs]
        mids = [options[:1] * depths[0] for options, depths in zip(_tuples(chances.mids), chances.depths, strict=True)]
        if stage:
            outs[stage - 1] = previous
        outs[stage], mids[stage] = out, (mid,) * depth
        yield Arch(tuple(outs), tuple(mids))


def _tuples(options: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    return [tuple(each) for each in options]


def _slices(supernet: Supernet, arch: Arch) -> list[tuple[nn.Parameter, tuple[int, ...]]]:
    """The parameters of an arch with the sizes of their leading slices."""
    found: list[tuple[nn.Parameter, tuple[int, ...]]] = []

    def noted(parameter: Tensor, *sizes: int) -> Tensor:
        whole = (*sizes, *parameter.shape[len(sizes) : 2])
        found.append((cast(nn.Parameter, parameter), whole[:2]))
        return parameter  # only the sizes are needed

    supernet.weights(arch, noted)
    return found


def _parameters(supernet: Supernet, stage: int) -> set[nn.Parameter]:
    """The parameters of a stage; the stem belongs to the first stage, the classifiers to the last."""
    modules: list[nn.Module] = [supernet.stages[stage]]
    modules += [supernet.stem] if stage == 0 else []
    modules += [supernet.heads] if stage == len(supernet.stages) - 1 else []
    return {parameter for module in modules for parameter in module.parameters()}


def _summed_from_the_end(corner: Tensor) -> Tensor:
    for dim in range(corner.dim()):
        corner = corner.flip(dim).cumsum(dim).flip(dim)
    return corner


def _depth_factors(supernet: Supernet, counts: PerWeight) -> Iterator[tuple[nn.Module, float]]:
    """Every block, with the factor of its position in its group."""
    for group in itertools.chain.from_iterable(cast(Sequence[Sequence[nn.ModuleList]], supernet.stages)):
        tops = torch.stack([max(counts[parameter].max() for parameter in block.parameters()) for block in group])
        yield from zip(group, _inverse(tops, _mean_of_reached(tops)).tolist(), strict=True)


def _mean_of_reached(counts: Tensor) -> Tensor:
    return counts.sum() / (counts > 0).sum().clamp(min=1)


def _inverse(counts: Tensor, mean: Tensor) -> Tensor:
    return torch.where(counts > 0, mean / counts, torch.ones_like(counts))
