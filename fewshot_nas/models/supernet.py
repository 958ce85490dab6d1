"""The supernet: one network with the weights of every subnet of a space, split into few-shot groups."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from fewshot_nas.models.layers import ConvBN, ResidualBlock, initialise, residual_block
from fewshot_nas.models.slicing import BlockWeights, ConvNorm, Linear, SubnetWeights, View, leading, run_subnet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.space.split import Capacity, Split


class Supernet(nn.Module):
    """The weights of all subnets. The subnet to run is an argument of `forward`; the supernet does not store it.

    A stage has separate blocks for each group (few-shot NAS, arXiv:2006.06863), as many and as wide
    as the largest members of the group need; their middle has the stage's full width. The classifier
    is split like the last stage. Batch norms always use the statistics of the batch, even after
    `eval()`.

    Args:
        split: says which group serves a block; with one group per stage this is the one-shot supernet.

    Attributes:
        source: the file that it was read from.
        trained_on: facts about its training images, their classes among them; empty where nobody knows.
    """

    def __init__(self, split: Split, num_classes: int) -> None:
        super().__init__()
        self.split, self.space, self.num_classes = split, split.space, num_classes
        self.trained_on: Mapping[str, Any] = {}
        self.source: Path | None = None
        space = split.space
        self.stem = ConvBN(space.in_channels, space.stem_width(1), space.stem_kernel, space.stem_stride, tracks=False)
        self.stages = nn.ModuleList(
            nn.ModuleList(_group(space, stage, capacity) for capacity in split.capacities(stage))
            for stage in range(space.stages)
        )
        self.heads = nn.ModuleList(
            nn.Linear(capacity.width, num_classes) for capacity in split.capacities(space.stages - 1)
        )
        initialise(self)

    def forward(self, x: Tensor, arch: Arch, *, dropout: float = 0.0, drop_connect: float = 0.0) -> Tensor:
        """Logits [B, classes] of one subnet for images [B, C, H, W].

        Args:
            dropout, drop_connect: see `slicing.run_subnet`; they are used in training mode only.
        """
        if not self.training:
            dropout = drop_connect = 0.0
        return run_subnet(self.weights(arch), x, dropout=dropout, drop_connect=drop_connect)

    def weights(self, arch: Arch, view: View = leading) -> SubnetWeights:
        """The tensors of one subnet.

        Args:
            view: makes a tensor from a parameter; called once per tensor.
        """
        shapes = self.space.blocks(arch)
        positions = [position for depth in arch.depths for position in range(depth)]
        groups = [self.split.group_of(shape.stage, shape.out, arch.depths[shape.stage]) for shape in shapes]
        places = zip(shapes, positions, groups, strict=True)
        return SubnetWeights(
            self.stem_weights(shapes[0].inputs, view),
            self.space.stem_pool,
            tuple(self.block_weights(shape, at, group, view) for shape, at, group in places),
            self.head_weights(shapes[-1].out, groups[-1], view),
        )

    def stem_weights(self, width: int, view: View = leading) -> ConvNorm:
        """The stem's tensors for an output of `width` channels."""
        return self.stem.weights(self.space.in_channels, width, view)

    def block_weights(self, shape: Block, position: int, group: int, view: View = leading) -> BlockWeights:
        """The tensors of a block at a position (0, 1, ...) of its stage, from the given group."""
        groups = cast(nn.ModuleList, self.stages[shape.stage])
        blocks = cast(nn.ModuleList, groups[group])
        return cast(ResidualBlock, blocks[position]).weights(shape, view)

    def head_weights(self, width: int, group: int, view: View = leading) -> Linear:
        """The classifier's tensors for `width` features, from the given group of the last stage."""
        head = cast(nn.Linear, self.heads[group])
        return Linear(view(head.weight, self.num_classes, width), view(head.bias, self.num_classes))


def _group(space: SearchSpace, stage: int, capacity: Capacity) -> nn.ModuleList:
    """The blocks of one group; the first one accepts the widest output of the previous stage."""
    mid, inputs = space.mid_width(stage, 1), space.width(stage - 1, 1) if stage else space.stem_width(1)
    first = Block(stage, inputs, mid, capacity.width, space.strides[stage], space.block)
    later = Block(stage, capacity.width, mid, capacity.width, 1, space.block)
    blocks = [residual_block(first, _may_project(space, stage), tracks=False)]
    blocks += [residual_block(later, projects=False, tracks=False) for _ in range(capacity.blocks - 1)]
    return nn.ModuleList(blocks)


def _may_project(space: SearchSpace, stage: int) -> bool:
    """Whether the first block of the stage changes the shape in some arch; the stem has the first stage's digit."""
    if space.strides[stage] != 1:
        return True
    if stage == 0:
        return any(space.stem_width(digit) != space.width(0, digit) for digit in range(1, space.digits + 1))
    return len({*space.widths(stage - 1), *space.widths(stage)}) > 1
