"""One network that holds the weights of every subnet of a space, split into few-shot groups."""

from typing import cast

from torch import Tensor, nn

from fewshot_nas.models.layers import ResidualBlock, Unit, initialise, residual_block
from fewshot_nas.models.slicing import BlockWeights, ConvNorm, Linear, SubnetWeights, View, leading, run
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.search_space import SearchSpace


class Supernet(nn.Module):
    """Weights of all subnets; which one runs is an argument of `forward`, never a state.

    A stage has separate blocks per group (few-shot NAS, arXiv:2006.06863), each as wide as the
    group's cap, with the stage's full width in the middle; the classifier is split like the
    last stage. Batch norms always use the statistics of the batch, also after `eval()`.

    Args:
        groups: 1 is the one-shot supernet.
    """

    def __init__(self, space: SearchSpace, groups: int, num_classes: int) -> None:
        super().__init__()
        self.space, self.groups, self.num_classes = space, groups, num_classes
        self.stem = Unit(space.in_channels, space.stem_width(1), space.stem_kernel, space.stem_stride, tracks=False)
        self.stages = nn.ModuleList(
            nn.ModuleList(_group(space, stage, cap) for cap in space.group_caps(stage, groups))
            for stage in range(space.stages)
        )
        self.heads = nn.ModuleList(nn.Linear(cap, num_classes) for cap in space.group_caps(space.stages - 1, groups))
        initialise(self)

    def forward(self, x: Tensor, arch: Arch, *, dropout: float = 0.0, drop_connect: float = 0.0) -> Tensor:
        """Logits [B, classes] of one subnet for images [B, C, H, W].

        Args:
            dropout, drop_connect: as in `slicing.run`; they act in training mode only.
        """
        if not self.training:
            dropout = drop_connect = 0.0
        return run(self.weights(arch), x, dropout=dropout, drop_connect=drop_connect)

    def weights(self, arch: Arch, view: View = leading) -> SubnetWeights:
        """One subnet's tensors.

        Args:
            view: makes each of them from a parameter; called once per tensor.
        """
        shapes = self.space.blocks(arch)
        positions = [position for depth in arch.depths for position in range(depth)]
        return SubnetWeights(
            self.stem_weights(shapes[0].inputs, view),
            self.space.stem_pool,
            tuple(self.block_weights(shape, at, view) for shape, at in zip(shapes, positions, strict=True)),
            self.head_weights(shapes[-1].out, view),
        )

    def stem_weights(self, width: int, view: View = leading) -> ConvNorm:
        """The stem's tensors for an output of `width` channels."""
        return self.stem.weights(self.space.in_channels, width, view)

    def block_weights(self, shape: Block, position: int, view: View = leading) -> BlockWeights:
        """The tensors of the block at a position of its stage, from the group that serves its output."""
        groups = cast(nn.ModuleList, self.stages[shape.stage])
        blocks = cast(nn.ModuleList, groups[self.space.group_of(shape.stage, self.groups, shape.out)])
        return cast(ResidualBlock, blocks[position]).weights(shape, view)

    def head_weights(self, width: int, view: View = leading) -> Linear:
        """The classifier's tensors for `width` features."""
        head = cast(nn.Linear, self.heads[self.space.group_of(self.space.stages - 1, self.groups, width)])
        return Linear(view(head.weight, self.num_classes, width), view(head.bias, self.num_classes))


def _group(space: SearchSpace, stage: int, cap: int) -> nn.ModuleList:
    """The blocks of one group at full depth; the first takes all that the previous stage can give."""
    mid, inputs = space.mid_width(stage, 1), space.width(stage - 1, 1) if stage else space.stem_width(1)
    first = Block(stage, inputs, mid, cap, space.strides[stage], space.block)
    later = Block(stage, cap, mid, cap, 1, space.block)
    blocks = [residual_block(first, _may_project(space, stage), tracks=False)]
    blocks += [residual_block(later, projects=False, tracks=False) for _ in range(space.depths[stage][1] - 1)]
    return nn.ModuleList(blocks)


def _may_project(space: SearchSpace, stage: int) -> bool:
    """Whether some arch changes the shape in the stage's first block; the stem has the first stage's digit."""
    if space.strides[stage] != 1:
        return True
    if stage == 0:
        return any(space.stem_width(digit) != space.width(0, digit) for digit in range(1, space.digits + 1))
    return len({*space.widths(stage - 1), *space.widths(stage)}) > 1
