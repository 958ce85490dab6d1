"""Gradients that are scaled by the inverse of how often each weight is trained.

Leading channels and first blocks belong to more archs than the others, so they get more gradients.
The exact number is known, because the choices of a step's archs are uniform and independent. The optimizer calls the
scale as a hook, after the gradients have been averaged and clipped.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import Literal, cast

import torch
from torch import Tensor, nn

from fewshot_nas.models.supernet import BlockLayers, Supernet, View
from fewshot_nas.space.space import Options, Space, present

Kind = Literal["channel", "channel_depth"]
PerWeight = Mapping[nn.Parameter, Tensor]  # a number for each weight: [out, inputs], or [channels] for a vector


def chances(space: Space, options: Options, middle: int) -> list[Options]:
    """For each arch of a step, the options that it is drawn from, with `sampling: random` and `extremes: outs`.

    Args:
        options: those that are drawn, at each slot.
        middle: archs between the two ends.
    """
    first, last = (space.extreme(options, largest=largest) for largest in (True, False))
    ends = [
        tuple(
            drawn if slot.role == "out" else (choice or drawn[0],)
            for slot, drawn, choice in zip(space.slots, options, end, strict=True)
        )
        for end in (first, last)
    ]
    return [ends[0], *[options] * middle, ends[1]]


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


def gradient_scale(supernet: Supernet, likely: Sequence[Options], kind: Kind) -> GradientScale:
    """Scale gradients by the inverse of the mean number of archs of a step that train the weight.

    With `channel`, the factors of a parameter are normalised so that the sum of its expected
    gradients does not change: rarely trained channels move more, the others less. With
    `channel_depth`, the same is done for the blocks of a group too, because fewer archs have the
    last ones. A weight that no arch trains has factor 1.

    Args:
        likely: for each arch of a step, the options that it is drawn from.
    """
    counts = trained_counts(supernet, likely)
    factors = {parameter: _inverse(count, _mean_of_reached(count)) for parameter, count in counts.items()}
    if kind == "channel_depth":
        for block, factor in _depth_factors(supernet, counts):
            for parameter in block.parameters():
                factors[parameter] = factors[parameter] * factor
    return GradientScale({parameter: factor.to(parameter) for parameter, factor in factors.items()})


def trained_counts(supernet: Supernet, likely: Sequence[Options]) -> PerWeight:
    """The exact mean number of archs of a step that train each weight."""
    corners = {
        parameter: torch.zeros(parameter.shape[:2], dtype=torch.float64, device="cpu")
        for parameter in supernet.parameters()
    }
    for options, alike in groupby(likely):
        times = len(list(alike))
        for found in _slices(supernet, options):
            for parameter, sizes, share in found:
                corners[parameter][tuple(size - 1 for size in sizes)] += times * share
    # A leading slice trains all weights up to its last one, so the counts are sums over larger slices.
    return {parameter: _summed_from_the_end(corner) for parameter, corner in corners.items()}


def _slices(supernet: Supernet, options: Options) -> Iterator[list[tuple[nn.Parameter, tuple[int, ...], float]]]:
    """For each way to be at each place: the parameters, the sizes of their leading slices, and how likely it is."""
    space, split = supernet.space, supernet.split
    for number, rule in enumerate(split.rules):
        place = space.places[number] if number < len(space.places) else None
        reads = {*rule.reads, *(place.reads if place else space.head_reads)}
        reads |= {place.when[0]} if place and place.when else set()
        ways = list(product(*(options[slot] for slot in sorted(reads))))
        for values in ways:
            found: list[tuple[nn.Parameter, tuple[int, ...], float]] = []
            noted = _noting(found, 1 / len(ways))
            arch = [each[0] for each in options]
            for slot, value in zip(sorted(reads), values, strict=True):
                arch[slot] = value
            home = number, rule.group(arch)
            if place is None:
                supernet.head_tensors(space.head(tuple(arch)), home, noted)
            elif present(place.when, arch):
                layers = cast(BlockLayers, supernet.stored(home))
                layers.tensors(space.block_at(number, tuple(arch)), place.stage, noted)
            yield found


def _noting(found: list[tuple[nn.Parameter, tuple[int, ...], float]], share: float) -> View:
    """A view that notes sizes; nothing else is needed of it."""

    def noted(parameter: Tensor, *sizes: int) -> Tensor:
        whole = (*sizes, *parameter.shape[len(sizes) : 2])
        found.append((cast(nn.Parameter, parameter), whole[:2], share))
        return parameter

    return noted


def _summed_from_the_end(corner: Tensor) -> Tensor:
    for dim in range(corner.dim()):
        corner = corner.flip(dim).cumsum(dim).flip(dim)
    return corner


def _depth_factors(supernet: Supernet, counts: PerWeight) -> Iterator[tuple[nn.Module, float]]:
    """Every block, with the factor of its position in its group of its stage."""
    groups: dict[tuple[int, int], list[nn.Module]] = {}
    for place, group in supernet.split.homes:
        stage = supernet.space.places[place].stage
        groups.setdefault((stage, group), []).append(supernet.stored((place, group)))
    for blocks in groups.values():
        tops = torch.stack([max(counts[parameter].max() for parameter in block.parameters()) for block in blocks])
        yield from zip(blocks, _inverse(tops, _mean_of_reached(tops)).tolist(), strict=True)


def _mean_of_reached(counts: Tensor) -> Tensor:
    return counts.sum() / (counts > 0).sum().clamp(min=1)


def _inverse(counts: Tensor, mean: Tensor) -> Tensor:
    return torch.where(counts > 0, mean / counts, torch.ones_like(counts))
