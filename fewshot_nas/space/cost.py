"""Multiply-adds and parameters of a subnet, computed from its arch alone.

Multiply-adds are those of the convolutions and of the classifier; one multiply-add counts as 1.
Parameters include the weight and bias of every batch norm. Convolutions pad by half their kernel.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block, Layer, side_after, sides
from fewshot_nas.space.search_space import SearchSpace


class Cost(NamedTuple):
    """Multiply-adds for one image, and parameters, of a network or a part of it."""

    macs: int
    params: int


class Sizes(NamedTuple):
    """Sides of square feature maps in pixels: the stem's output, the first block's input, each stage's output."""

    stem: int
    entry: int
    stages: tuple[int, ...]

    def before(self, block: Block) -> int:
        """Side of a block's input."""
        if block.stride == 1:
            return self.stages[block.stage]
        return self.stages[block.stage - 1] if block.stage else self.entry


def layer_cost(layer: Layer, side: int) -> Cost:
    """Cost of a convolution whose output is `side` x `side`, and of the batch norm after it."""
    weights = layer.kernel**2 * layer.inputs * layer.out
    return Cost(weights * side * side, weights + 2 * layer.out)


@lru_cache(maxsize=1 << 16)
def block_cost(block: Block, side: int) -> Cost:
    """Cost of a block whose input is `side` x `side`."""
    layers, after = block.layers, sides(block.layers, side)
    if block.projects:
        layers, after = (*layers, block.shortcut), [*after, after[-1]]
    return _sum(map(layer_cost, layers, after))


def sizes(space: SearchSpace, resolution: int | None = None) -> Sizes:
    """Sides of a space's feature maps.

    Args:
        resolution: side of the square input; the space's own if None.
    """
    stem = side_after(resolution or space.resolution, space.stem_stride)
    entry = size = side_after(stem, 2) if space.stem_pool else stem
    stages = []
    for stride in space.strides:
        size = side_after(size, stride)
        stages.append(size)
    return Sizes(stem, entry, tuple(stages))


def stem_cost(space: SearchSpace, width: int, size: int) -> Cost:
    """Cost of the first convolution, if its output has `width` channels of `size` x `size` pixels."""
    return layer_cost(Layer(space.in_channels, width, space.stem_kernel, space.stem_stride), size)


def head_cost(width: int, num_classes: int) -> Cost:
    """Cost of the classifier on `width` features."""
    return Cost(width * num_classes, (width + 1) * num_classes)


def costs(space: SearchSpace, arch: Arch, *, resolution: int | None = None, num_classes: int = 1000) -> list[Cost]:
    """Costs of the stem, of each stage and of the classifier, in this order.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    maps, blocks = sizes(space, resolution), space.blocks(arch)
    stages: list[list[Cost]] = [[] for _ in range(space.stages)]
    for block in blocks:
        stages[block.stage].append(block_cost(block, maps.before(block)))
    stem = stem_cost(space, blocks[0].inputs, maps.stem)
    return [stem, *map(_sum, stages), head_cost(blocks[-1].out, num_classes)]


def total_cost(space: SearchSpace, arch: Arch, *, resolution: int | None = None, num_classes: int = 1000) -> Cost:
    """Cost of the whole subnet."""
    parts = costs(space, arch, resolution=resolution, num_classes=num_classes)
    return _sum(parts)


def _sum(costs: Iterable[Cost]) -> Cost:
    macs, params = zip(*costs, strict=True)
    return Cost(sum(macs), sum(params))
