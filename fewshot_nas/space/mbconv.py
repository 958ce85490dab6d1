"""Paths of MBConv blocks, as in Cream of the Crop (arXiv:2010.15821): a kernel and an expansion for each block."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import ClassVar

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Head, Op, inverted_residual, residual
from fewshot_nas.space.space import STEM, Arch, Place, Slot, Space, round_width

DIVISOR = 8  # of widths and of the middle of squeeze-and-excitations, as everywhere in this family of networks
_FIXED = [0]  # stands for the first and the last stage in a code


@dataclass(frozen=True)
class MBConvSpace(Space):
    """A stem, a separable block, stages whose blocks are chosen one by one, a last 1x1 convolution, a hidden layer.

    A choice is an inverted residual with squeeze-and-excitation and SiLU. Choices are counted from 0, each kernel with
    the first expansion, then with the next; the last choice is the largest. The first block of a stage strides. Each
    choice has tensors of its own in a supernet. The defaults are the published values.

    Attributes:
        lengths: number of blocks of each stage; they are not chosen.
        stem_width, stem_stride: of the first convolution, 3x3; the separable block after it, stage 0, has this width.
        widths, strides: output channels and the first block's stride of the stages 1, 2, ...
        last_width: output channels of the last convolution, a stage of its own.
        head_width: features before the classifier.
        kernels: sides of the depthwise kernels, rising.
        expansions: factors of a block's middle width, rising.
    """

    kind: ClassVar[str] = "mbconv"
    starts_as_shortcuts: ClassVar[bool] = False

    name: str
    lengths: tuple[int, ...] = (4, 4, 4, 4, 4)
    stem_width: int = 16
    stem_stride: int = 2
    widths: tuple[int, ...] = (24, 40, 80, 96, 192)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2)
    last_width: int = 320
    head_width: int = 1280
    kernels: tuple[int, ...] = (3, 5, 7)
    expansions: tuple[int, ...] = (4, 6)
    in_channels: int = 3
    resolution: int = 224

    def __post_init__(self) -> None:
        if not len(self.lengths) == len(self.widths) == len(self.strides) > 0:
            self.refuse("lengths, widths and strides need a number for each stage")
        self._check("lengths", self.lengths, 1)
        self._check("stem_width, widths and last_width", (self.stem_width, *self.widths, self.last_width), DIVISOR)
        self._check("head_width and expansions", (self.head_width, *self.expansions), 1)
        self._check("in_channels and resolution", (self.in_channels, self.resolution), 1)
        if not {self.stem_stride, *self.strides} <= {1, 2}:
            self.refuse(f"stem_stride and strides are {[self.stem_stride, *self.strides]}, expected each to be 1 or 2")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            self.refuse(f"kernels is {list(self.kernels)}, expected odd numbers")
        for name in ("kernels", "expansions"):
            values = getattr(self, name)
            if not values or list(values) != sorted(set(values)):
                self.refuse(f"{name} is {list(values)}, expected rising numbers")

    def _check(self, names: str, numbers: Sequence[int], divisor: int) -> None:
        if any(number < 1 or number % divisor for number in numbers):
            multiples = f"multiples of {divisor}" if divisor > 1 else "positive numbers"
            self.refuse(f"{names} are {list(numbers)}, expected {multiples}")

    @cached_property
    def choices(self) -> tuple[tuple[int, int], ...]:
        return tuple((kernel, expansion) for kernel in self.kernels for expansion in self.expansions)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        options = tuple(range(len(self.choices)))
        return tuple(
            Slot(f"{stage} block {position}", stage, "block", options)
            for stage, depth in enumerate(self.lengths, start=1)
            for position in range(depth)
        )

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, the separable block, the chosen blocks, and the last convolution."""
        blocks = (Place(slot.stage, (number,), choice=number) for number, slot in enumerate(self.slots))
        return (Place(STEM), Place(0), *blocks, Place(len(self.lengths) + 1))

    def block_at(self, place: int, arch: Arch) -> Block:
        stage, stem = self.places[place].stage, self.stem_width
        if stage == STEM:
            return Block((Op(self.in_channels, stem, 3, self.stem_stride, act="silu"),), None)
        if stage == 0:
            depthwise = Op(stem, stem, 3, 1, stem, "silu", _squeeze(stem))
            return residual((depthwise, Op(stem, stem, 1)), "none", projects=False)
        if stage > len(self.widths):
            return Block((Op(self.widths[-1], self.last_width, 1, act="silu"),), None)
        out, first = self.widths[stage - 1], self.places[place - 1].stage != stage
        inputs = out if not first else self.widths[stage - 2] if stage > 1 else stem
        kernel, expansion = self.choices[arch[place - 2]]
        mid, stride = inputs * expansion, self.strides[stage - 1] if first else 1
        return inverted_residual(inputs, mid, out, kernel, stride, "silu", _squeeze(mid))

    @property
    def least_resolution(self) -> int:
        """Any: padded convolutions leave a pixel, and a Cream search has images of half the 32 pixels by default."""
        return 1

    def head(self, arch: Arch) -> Head:
        return Head(self.last_width, self.head_width, "silu")

    def by_stage(self, arch: Arch) -> tuple[tuple[int, ...], ...]:
        choices = iter(arch)
        return tuple(tuple(islice(choices, depth)) for depth in self.lengths)

    def encode(self, arch: Arch) -> str:
        """The code of an arch, `[[0],[3],[3,3],...,[0]]`: the choices by stage between the two fixed stages."""
        self.check(arch)
        return json.dumps([_FIXED, *self.by_stage(arch), _FIXED], separators=(",", ":"))

    def decode(self, code: str) -> Arch:
        """The arch that a code stands for.

        Raises:
            InputError: the code is malformed, or has other depths.
        """
        stages = stages_of(code)
        if tuple(map(len, stages)) != self.lengths:
            depths = ", ".join(str(len(stage)) for stage in stages)
            raise InputError(f"code {code!r} has the depths {depths}, expected {', '.join(map(str, self.lengths))}")
        arch = tuple(chain.from_iterable(stages))
        try:
            self.check(arch)
        except InputError as error:
            raise InputError(f"code {code!r}: {error}") from None
        return arch

    @property
    def code_length(self) -> int:
        """Number of characters of the longest code."""
        return len(self.encode(self.largest))


def stages_of(code: str) -> tuple[tuple[int, ...], ...]:
    """The choices by stage that a code lists, whatever their number.

    Raises:
        InputError: the code is malformed.
    """
    try:
        stages = json.loads(code)
    except (ValueError, RecursionError):
        stages = None
    if (
        not isinstance(stages, list)
        or not all(isinstance(stage, list) and stage for stage in stages)
        or any(type(choice) is not int for stage in stages for choice in stage)
        or len(stages) < 3
        or not stages[0] == stages[-1] == _FIXED
    ):
        raise InputError(f"code {code!r} is no path, expected lists of choices as in [[0],[3],[3,3],[0]]")
    return tuple(map(tuple, stages[1:-1]))


def _squeeze(width: int) -> int:
    """Middle channels of a squeeze-and-excitation: a quarter of the width."""
    return round_width(0.25 * width, DIVISOR)
