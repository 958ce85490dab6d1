"""A block, described by its effective widths, and its convolutions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

BlockKind = Literal["basic", "bottleneck"]
EXPANSION = {"basic": 1, "bottleneck": 4}  # a block's widest output, as a multiple of its widest middle


class Layer(NamedTuple):
    """A convolution, padded by half its kernel."""

    inputs: int
    out: int
    kernel: int
    stride: int


class Block(NamedTuple):
    """One block, described by its effective widths. Equal blocks with equal weights compute the same function.

    A `basic` block has two 3x3 convolutions, a `bottleneck` 1x1, 3x3 and 1x1 (arXiv:1512.03385).
    """

    stage: int
    inputs: int
    mid: int
    out: int
    stride: int
    kind: BlockKind = "basic"

    @property
    def projects(self) -> bool:
        """Whether the shortcut is a 1x1 convolution, because input and output differ in shape."""
        return self.stride != 1 or self.inputs != self.out

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The convolutions without the shortcut, in order. A bottleneck strides in its 3x3, as in torchvision."""
        if self.kind == "basic":
            return Layer(self.inputs, self.mid, 3, self.stride), Layer(self.mid, self.out, 3, 1)
        return (
            Layer(self.inputs, self.mid, 1, 1),
            Layer(self.mid, self.mid, 3, self.stride),
            Layer(self.mid, self.out, 1, 1),
        )

    @property
    def shortcut(self) -> Layer:
        """The shortcut's convolution; only meaningful if the block `projects`."""
        return Layer(self.inputs, self.out, 1, self.stride)


def sides(layers: Sequence[Layer], side: int) -> list[int]:
    """Side of each layer's output in pixels, if the input of the first layer is `side` x `side`."""
    found = []
    for layer in layers:
        side = side_after(side, layer.stride)
        found.append(side)
    return found


def side_after(side: int, stride: int) -> int:
    """Side of the output of a convolution that is padded by half its kernel, in pixels.

    >>> side_after(7, 2)
    4
    """
    return -(-side // stride)
