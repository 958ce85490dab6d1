"""The MBConv space of Cream of the Crop (arXiv:2010.15821), and smaller ones of the same form. Standard library only.

Seven stages: the outer two are fixed, and each block of the five between them is one of six inverted residuals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fewshot_nas.errors import InputError

DIVISOR = 8  # of every width, for timm rounds others


class Choice(NamedTuple):
    """An inverted residual: the depthwise kernel's side, and the factor of its middle width."""

    kernel: int
    expansion: int


class Stage(NamedTuple):
    """What the blocks of a stage share; its first block has the stride, the others 1."""

    out: int
    stride: int


@dataclass(frozen=True)
class CreamSpace:
    """What all paths have in common, and what a block may be. The defaults are the published space.

    >>> CreamSpace().choices[3]
    Choice(kernel=5, expansion=6)

    Raises:
        InputError: names the value that makes no network.
    """

    # Channels of the stem and of stage 0.
    stem_width: int = 16
    # Stride of the stem: 1 or 2.
    stem_stride: int = 2
    # Channels of stages 1..5.
    widths: tuple[int, ...] = (24, 40, 80, 96, 192)
    # Stride of the first block of stages 1..5: 1 or 2.
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    # Channels of stage 6.
    last_width: int = 320
    # Features before the classifier.
    head_width: int = 1280
    # Three sides of a depthwise kernel, for choices 0 and 1, 2 and 3, 4 and 5.
    kernels: tuple[int, ...] = (3, 5, 7)
    # Two factors of a block's middle width, for even and for odd choices.
    expansions: tuple[int, ...] = (4, 6)

    def __post_init__(self) -> None:
        lengths = {"widths": 5, "strides": 5, "kernels": 3, "expansions": 2}
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise InputError(f"SPACE.{name} is {list(getattr(self, name))}, expected {length} numbers")
        _check("stem_width, widths and last_width", (self.stem_width, *self.widths, self.last_width), DIVISOR)
        _check("head_width and expansions", (self.head_width, *self.expansions), 1)
        if not {self.stem_stride, *self.strides} <= {1, 2}:
            raise InputError(f"SPACE.stem_stride and strides are {self._strides}, expected each to be 1 or 2")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise InputError(f"SPACE.kernels is {list(self.kernels)}, expected odd numbers")
        for name in ("kernels", "expansions"):  # so that the first choice is the cheapest and the last the dearest
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                raise InputError(f"SPACE.{name} is {list(values)}, expected rising numbers")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Stages 1..5."""
        return tuple(map(Stage, self.widths, self.strides))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """By index: every kernel with the first and with the second expansion."""
        return tuple(Choice(kernel, expansion) for kernel in self.kernels for expansion in self.expansions)

    def last_side(self, resolution: int) -> int:
        """Side of the smallest feature maps of square images, in pixels."""
        for stride in self._strides:
            resolution = -(-resolution // stride)
        return resolution

    @property
    def _strides(self) -> list[int]:
        return [self.stem_stride, *self.strides]


def _check(names: str, numbers: Sequence[int], divisor: int) -> None:
    if any(number < 1 or number % divisor for number in numbers):
        multiples = f"multiples of {divisor}" if divisor > 1 else "positive numbers"
        raise InputError(f"SPACE.{names} are {list(numbers)}, expected {multiples}")


PUBLISHED = CreamSpace()
