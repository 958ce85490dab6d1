"""Networks whose blocks are chosen from a list, identity included, as in NAS-Bench-Macro (arXiv:2103.11922)."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from fewshot_nas.space.block import IDENTITY, Block, Head, Op, inverted_residual
from fewshot_nas.space.space import STEM, Arch, Place, Slot, Space


@dataclass(frozen=True)
class MacroSpace(Space):
    """A stem, stages whose blocks are chosen one by one, a last 1x1 convolution, and the classifier.

    A choice is the identity, or an inverted residual. The first block of a stage strides and changes the width;
    there the identity is a 1x1 convolution. Each choice has tensors of its own in a supernet.

    Attributes:
        stem_width: output channels of the first convolution, 3x3 with stride 1.
        widths, lengths: output channels and number of blocks of each stage.
        last_width: output channels of the last convolution.
        choices: kernel side and expansion of each choice; (0, 0) is the identity. The last choice is the largest.
    """

    kind: ClassVar[str] = "macro"

    name: str
    stem_width: int = 32
    widths: tuple[int, ...] = (64, 128, 256)
    lengths: tuple[int, ...] = (2, 3, 3)
    last_width: int = 1280
    choices: tuple[tuple[int, int], ...] = ((0, 0), (3, 3), (5, 6))
    in_channels: int = 3
    resolution: int = 32

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.lengths) or not self.widths:
            self.refuse(f"widths are {self.widths} and lengths {self.lengths}, expected both for each stage")
        if min(self.stem_width, *self.widths, *self.lengths, self.last_width, self.in_channels, self.resolution) < 1:
            self.refuse("widths, lengths, channels and resolution must be positive")
        if not 1 <= len(self.choices) <= 10 or any(len(each) != 2 for each in self.choices):
            self.refuse(f"choices are {self.choices}, expected one to ten pairs of kernel and expansion")
        for kernel, expansion in self.choices:
            if (kernel, expansion) != (0, 0) and (kernel % 2 == 0 or min(kernel, expansion) < 1):
                self.refuse(f"choices has {[kernel, expansion]}, expected an odd kernel and an expansion, or [0, 0]")

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        options = tuple(range(len(self.choices)))
        return tuple(
            Slot(f"{stage} block {position}", stage, "block", options)
            for stage, length in enumerate(self.lengths)
            for position in range(length)
        )

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, the blocks, and the last convolution, which is a stage of its own."""
        blocks = (Place(slot.stage, (number,), choice=number) for number, slot in enumerate(self.slots))
        return (Place(STEM), *blocks, Place(len(self.lengths)))

    def block_at(self, place: int, arch: Arch) -> Block:
        stage = self.places[place].stage
        if stage == STEM:
            return Block((Op(self.in_channels, self.stem_width, 3, act="relu"),), None)
        if stage == len(self.lengths):
            return Block((Op(self.widths[-1], self.last_width, 1, act="relu"),), None)
        out, first = self.widths[stage], self.places[place - 1].stage != stage
        inputs = out if not first else self.widths[stage - 1] if stage else self.stem_width
        kernel, expansion = self.choices[arch[place - 1]]
        if kernel:
            return inverted_residual(inputs, inputs * expansion, out, kernel, 2 if first else 1)
        return Block((Op(inputs, out, 1, 2),), None) if first else IDENTITY

    def head(self, arch: Arch) -> Head:
        return Head(self.last_width)
