"""MobileNets with a choice of widths (arXiv:1801.04381), as in the channel benchmark of arXiv:2103.11922's authors."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from fewshot_nas.space.block import Block, Head, Op, inverted_residual
from fewshot_nas.space.space import STEM, Arch, Place, Slot, Space, round_width


@dataclass(frozen=True)
class MobileNetSpace(Space):
    """Stages of inverted residuals whose widths are chosen; leading channels are shared.

    A digit d stands for d / `digits` of a full width. The slots are, in the order of the network, the output width of
    the first stage, which is also the stem's, and its blocks' middle widths; for each later stage the middle of its
    first block, the stage's output, and the other middles; and the last convolution's width.

    Attributes:
        out_widths: full output channels of each stage.
        mid_widths: full middle channels of each block, stage by stage.
        strides: the stride of each stage's first block.
        last_width: full output channels of the last 1x1 convolution.
        kernel: side of the depthwise kernels.
    """

    kind: ClassVar[str] = "mobilenet"

    name: str
    out_widths: tuple[int, ...] = (128, 256)
    mid_widths: tuple[tuple[int, ...], ...] = ((768, 768), (768, 1536))
    strides: tuple[int, ...] = (1, 2)
    last_width: int = 1024
    digits: int = 4
    divisor: int = 1
    kernel: int = 3
    stem_stride: int = 2
    in_channels: int = 3
    resolution: int = 32

    def __post_init__(self) -> None:
        if not len(self.out_widths) == len(self.mid_widths) == len(self.strides) > 0:
            self.refuse("out_widths, mid_widths and strides need a value for each stage")
        if not all(self.mid_widths):
            self.refuse(f"mid_widths are {self.mid_widths}, expected a width for each block, and a block in each stage")
        widths = (*self.out_widths, *(width for stage in self.mid_widths for width in stage), self.last_width)
        if min(*widths, *self.strides, self.divisor, self.stem_stride, self.in_channels, self.resolution) < 1:
            self.refuse("widths, strides, divisor, channels and resolution must be positive")
        if not 1 <= self.digits <= 9:
            self.refuse(f"digits is {self.digits}, expected 1 to 9")
        if self.kernel % 2 == 0:
            self.refuse(f"kernel is {self.kernel}, expected an odd side")

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        digits, found = tuple(range(1, self.digits + 1)), []
        for stage, mids in enumerate(self.mid_widths):
            middles = [Slot(f"{stage} mid {position}", stage, "mid", digits) for position in range(len(mids))]
            middles.insert(1 if stage else 0, Slot(f"{stage} out", stage, "out", digits))
            found += middles
        return (*found, Slot(f"{len(self.mid_widths)} out", len(self.mid_widths), "out", digits))

    @cached_property
    def _slot(self) -> dict[str, int]:
        return {slot.name: number for number, slot in enumerate(self.slots)}

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, the blocks, and the last convolution, which is a stage of its own."""
        found = [Place(STEM, (self._slot["0 out"],))]
        for stage, mids in enumerate(self.mid_widths):
            out, before = self._slot[f"{stage} out"], self._slot[f"{max(stage - 1, 0)} out"]
            for position in range(len(mids)):
                inputs = (before,) if stage and not position else ()
                found.append(Place(stage, (*inputs, out, self._slot[f"{stage} mid {position}"]), out))
        last = self._slot[f"{len(self.mid_widths)} out"]
        return (*found, Place(len(self.mid_widths), (out, last), last))

    def _width(self, base: int, digit: int) -> int:
        return round_width(base * digit / self.digits, self.divisor)

    def _out(self, stage: int, arch: Arch) -> int:
        return self._width(self.out_widths[stage], arch[self._slot[f"{stage} out"]])

    def block_at(self, place: int, arch: Arch) -> Block:
        stage = self.places[place].stage
        if stage == STEM:
            return Block((Op(self.in_channels, self._out(0, arch), 3, self.stem_stride, act="relu"),), None)
        if stage == len(self.mid_widths):
            return Block((Op(self._out(stage - 1, arch), self.head(arch).inputs, 1, act="relu"),), None)
        position = place - 1 - sum(map(len, self.mid_widths[:stage]))
        out = self._out(stage, arch)
        inputs = out if position or not stage else self._out(stage - 1, arch)
        mid = self._width(self.mid_widths[stage][position], arch[self._slot[f"{stage} mid {position}"]])
        return inverted_residual(inputs, mid, out, self.kernel, 1 if position else self.strides[stage])

    @cached_property
    def head_reads(self) -> tuple[int, ...]:
        return (len(self.slots) - 1,)

    def head(self, arch: Arch) -> Head:
        return Head(self._width(self.last_width, arch[-1]))
