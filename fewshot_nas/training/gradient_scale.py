"""Gradients scaled by the inverse of how often a weight is trained.

Leading channels and first blocks belong to more archs than the others, so they get more
gradients. How many is known exactly, because the sampler's choices are uniform and independent.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.training.sampler import Chances

Kind = Literal["channel", "channel_depth"]
PerWeight = Mapping[nn.Parameter, Tensor]  # a number for each weight: [out, inputs], or [channels] of a vector


class GradientScale:
    """Multiplies gradients by factors. As a hook of the optimizer it is called before each step.

    Args:
        factors: of each parameter [out, inputs] or [channels], the same for all of a kernel's positions.
    """

    def __init__(self, factors: PerWeight) -> None:
        self._factors = {
            parameter: factor.view(*factor.shape, *[1] * (parameter.dim() - factor.dim()))
            for parameter, factor in factors.items()
        }

    def __call__(self, *_: object) -> None:
        """Scale, in place, all gradients that there are."""
        reached = [(each.grad, factor) for each, factor in self._factors.items() if each.grad is not None]
        if reached:
            torch._foreach_mul_([gradient for gradient, _ in reached], [factor for _, factor in reached])


def gradient_scale(supernet: Supernet, chances: Sequence[Chances], kind: Kind) -> GradientScale:
    """The inverse of how many archs of a step train each weight, on average.

    With `channel`, the sum of a parameter's expected gradients stays as it is: rarely trained
    channels move further and the others less far. With `channel_depth` the same holds for the
    blocks of a group, whose last ones fewer archs have. A weight that no arch trains has factor 1.

    Args:
        chances: what the archs of a step are drawn from.
    """
    counts = trained_counts(supernet, chances)
    factors = {parameter: _inverse(count, _mean_of_reached(count)) for parameter, count in counts.items()}
    if kind == "channel_depth":
        for block, factor in _depth_factors(supernet, counts):
            for parameter in block.parameters():
                factors[parameter] = factors[parameter] * factor
    return GradientScale({parameter: factor.to(parameter) for parameter, factor in factors.items()})


def trained_counts(supernet: Supernet, chances: Sequence[Chances]) -> PerWeight:
    """How many archs of a step train each weight, on average; exact."""
    corners = {
        parameter: torch.zeros(parameter.shape[:2], dtype=torch.float64, device="cpu")
        for parameter in supernet.parameters()
    }
    for kind, alike in itertools.groupby(chances):
        times = len(list(alike))
        for stage in range(len(supernet.stages)):
            own, archs = _parameters(supernet, stage), list(_archs(kind, stage))
            slices = Counter(each for arch in archs for each in _slices(supernet, arch) if each[0] in own)
            for (parameter, sizes), count in slices.items():
                corners[parameter][tuple(size - 1 for size in sizes)] += times * count / len(archs)
    # A leading slice trains all weights up to its last one.
    return {parameter: _summed_from_the_end(corner) for parameter, corner in corners.items()}


def _archs(chances: Chances, stage: int) -> Iterator[Arch]:
    """All choices, equally likely, that slices of a stage depend on.

    Those are the stage's digits and depth, and the out digit of the stage before. No tensor
    depends on the middle digits of two blocks, so all blocks have the same.
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
        return parameter  # its sizes are all that is wanted

    supernet.weights(arch, noted)
    return found


def _parameters(supernet: Supernet, stage: int) -> set[nn.Parameter]:
    """Of a stage; the stem belongs to the first, the classifiers to the last."""
    modules: list[nn.Module] = [supernet.stages[stage]]
    modules += [supernet.stem] if stage == 0 else []
    modules += [supernet.heads] if stage == len(supernet.stages) - 1 else []
    return {parameter for module in modules for parameter in module.parameters()}


def _summed_from_the_end(corner: Tensor) -> Tensor:
    for dim in range(corner.dim()):
        corner = corner.flip(dim).cumsum(dim).flip(dim)
    return corner


def _depth_factors(supernet: Supernet, counts: PerWeight) -> Iterator[tuple[nn.Module, float]]:
    """Every block with the factor of its position in its group."""
    for group in itertools.chain.from_iterable(cast(Sequence[Sequence[nn.ModuleList]], supernet.stages)):
        tops = torch.stack([max(counts[parameter].max() for parameter in block.parameters()) for block in group])
        yield from zip(group, _inverse(tops, _mean_of_reached(tops)).tolist(), strict=True)


def _mean_of_reached(counts: Tensor) -> Tensor:
    return counts.sum() / (counts > 0).sum().clamp(min=1)


def _inverse(counts: Tensor, mean: Tensor) -> Tensor:
    return torch.where(counts > 0, mean / counts, torch.ones_like(counts))
