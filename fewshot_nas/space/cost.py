"""Multiply-adds and parameters of a subnet, from its arch alone.

Counted are convolutions and the linear layer, one multiply-add as 1; parameters include the
affine pair of every batch norm. Convolutions pad by half their kernel.
"""

from functools import lru_cache
from typing import NamedTuple

from fewshot_nas.space.arch import STAGES, Arch
from fewshot_nas.space.search_space import Block, SearchSpace


class Cost(NamedTuple):
    """What a part of a network costs for one image."""

    macs: int
    params: int


@lru_cache(maxsize=1 << 16)
def block_cost(block: Block, size: int) -> Cost:
    """A basic block whose output is `size` x `size`."""
    weights = 9 * block.mid * (block.inputs + block.out)
    norms = 2 * (block.mid + block.out)
    if block.projects:
        weights += block.inputs * block.out
        norms += 2 * block.out
    return Cost(weights * size * size, weights + norms)


def sizes(space: SearchSpace, resolution: int | None = None) -> tuple[int, ...]:
    """Side of the stem convolution's output, and of each stage's, in pixels.

    Args:
        resolution: side of the square input; the space's own if None.
    """
    stem = _shrink(resolution or space.resolution, space.stem_stride)
    size = _shrink(stem, 2) if space.stem_pool else stem
    stages = []
    for stride in space.strides:
        size = _shrink(size, stride)
        stages.append(size)
    return stem, *stages


def stem_cost(space: SearchSpace, width: int, size: int) -> Cost:
    """The first convolution with an output of `width` channels, `size` x `size`."""
    weights = space.stem_kernel**2 * space.in_channels * width
    return Cost(weights * size * size, weights + 2 * width)


def head_cost(width: int, num_classes: int) -> Cost:
    """The classifier on `width` features."""
    return Cost(width * num_classes, (width + 1) * num_classes)


def costs(space: SearchSpace, arch: Arch, *, resolution: int | None = None, num_classes: int = 1000) -> list[Cost]:
    """Costs of stem, each stage and head, in this order.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    stem_size, *stage_sizes = sizes(space, resolution)
    blocks = space.blocks(arch)
    stages = [(0, 0)] * STAGES
    for block in blocks:
        macs, params = stages[block.stage]
        extra = block_cost(block, stage_sizes[block.stage])
        stages[block.stage] = (macs + extra.macs, params + extra.params)
    stem = stem_cost(space, blocks[0].inputs, stem_size)
    head = head_cost(blocks[-1].out, num_classes)
    return [stem, *(Cost(*stage) for stage in stages), head]


def total_cost(space: SearchSpace, arch: Arch, *, resolution: int | None = None, num_classes: int = 1000) -> Cost:
    """Cost of the whole subnet."""
    parts = costs(space, arch, resolution=resolution, num_classes=num_classes)
    return Cost(sum(part.macs for part in parts), sum(part.params for part in parts))


def _shrink(size: int, stride: int) -> int:
    return -(-size // stride)
