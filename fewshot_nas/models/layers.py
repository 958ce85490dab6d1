"""The modules that supernet and subnet are built of."""

from torch import Tensor, nn

from fewshot_nas.models.slicing import EPS, BlockWeights, ConvNorm, View
from fewshot_nas.space.block import Block


class ConvBN(nn.Module):
    """A convolution and the batch norm after it.

    Args:
        tracks: whether the norm has running statistics. A supernet's norms have none, because
            statistics of many subnets fit none of them.
    """

    def __init__(self, inputs: int, out: int, kernel: int, stride: int, *, tracks: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=EPS, track_running_stats=tracks)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.conv(x))
        return normalised

    def weights(self, inputs: int, out: int, view: View) -> ConvNorm:
        """The tensors of the leading channels."""
        conv = view(self.conv.weight, out, inputs)
        return ConvNorm(conv, view(self.norm.weight, out), view(self.norm.bias, out), self.conv.stride[0])


class ResidualBlock(nn.Module):
    """The common part of both kinds of blocks: the convolutions `conv1`, `conv2`, ... and a shortcut."""

    def _join(self, shape: Block, projects: bool, *, tracks: bool) -> None:
        self.shortcut = ConvBN(*shape.shortcut, tracks=tracks) if projects else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def convs(self) -> list[ConvBN]:
        """The convolutions in order, without the shortcut's."""
        named = self.named_children()
        return [conv for name, conv in named if name.startswith("conv") and isinstance(conv, ConvBN)]

    def weights(self, shape: Block, view: View) -> BlockWeights:
        """The tensors of the leading channels, with the widths of a subnet's block."""
        pairs = zip(self.convs(), shape.layers, strict=True)
        convs = tuple(conv.weights(layer.inputs, layer.out, view) for conv, layer in pairs)
        shortcut = None
        if shape.projects:
            assert isinstance(self.shortcut, ConvBN), f"a block without shortcut convolution cannot be {shape}"
            shortcut = self.shortcut.weights(shape.inputs, shape.out, view)
        return BlockWeights(convs, shortcut, shape.stage)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions and a shortcut.

    Args:
        shape: the widths; in a supernet, the largest ones.
        projects: whether the shortcut is a 1x1 convolution. A supernet's block has one if any
            of its subnets needs it.
    """

    def __init__(self, shape: Block, projects: bool, *, tracks: bool) -> None:
        super().__init__()
        first, second = shape.layers
        self.conv1 = ConvBN(*first, tracks=tracks)
        self.conv2 = ConvBN(*second, tracks=tracks)
        self._join(shape, projects, tracks=tracks)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(self.relu(self.conv1(x)))
        joined: Tensor = self.relu(residual + self.shortcut(x))
        return joined


class BottleneckBlock(ResidualBlock):
    """Convolutions of 1x1, 3x3 and 1x1, and a shortcut; the arguments are those of `BasicBlock`."""

    def __init__(self, shape: Block, projects: bool, *, tracks: bool) -> None:
        super().__init__()
        first, second, third = shape.layers
        self.conv1 = ConvBN(*first, tracks=tracks)
        self.conv2 = ConvBN(*second, tracks=tracks)
        self.conv3 = ConvBN(*third, tracks=tracks)
        self._join(shape, projects, tracks=tracks)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.conv2(self.relu(self.conv1(x))))
        joined: Tensor = self.relu(self.conv3(residual) + self.shortcut(x))
        return joined


def residual_block(shape: Block, projects: bool, *, tracks: bool) -> BasicBlock | BottleneckBlock:
    """A basic or a bottleneck block, as the shape says."""
    kind = BasicBlock if shape.kind == "basic" else BottleneckBlock
    return kind(shape, projects, tracks=tracks)


def initialise(network: nn.Module) -> None:
    """Draw fresh weights, in place.

    Convolutions are initialised as in arXiv:1502.01852. The last norm of each block has weight 0,
    so that at first the block equals its shortcut (arXiv:1706.02677). The other norms keep torch's
    weight 1 and bias 0. Nothing is drawn for a blueprint.
    """
    if next(network.parameters()).is_meta:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        elif isinstance(module, ResidualBlock):
            nn.init.zeros_(module.convs()[-1].norm.weight)
