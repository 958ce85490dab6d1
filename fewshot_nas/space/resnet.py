"""ResNets (arXiv:1512.03385) with a choice of depths and widths: the competition's space and its like."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Literal, get_args

from fewshot_nas.space.block import Block, Head, Op, basic, bottleneck
from fewshot_nas.space.codes import Codes
from fewshot_nas.space.space import STEM, Arch, Options, Place, Slot, Space, round_width

BlockKind = Literal["basic", "bottleneck"]
EXPANSION = {"basic": 1, "bottleneck": 4}  # a block's widest output, as a multiple of its widest middle


@dataclass(frozen=True)
class ResNetSpace(Space):
    """A family of ResNets. A digit stands for a width: 1 is the widest.

    Its slots are the depth of each stage, the out digit of each stage (the output width of all its blocks), and
    the mid digit of each block (the middle width). The stem uses the first stage's out digit.

    Attributes:
        base_widths: output channels of each stage at ratio 1.0. The middle of a bottleneck has a
            quarter of them. The stem is as wide as the first stage's middle.
        ratios: the ratios that the digits 1, 2, ... stand for, falling; at most 9.
        divisor: widths are rounded to multiples of this number.
        strides: the stride of each stage's first block.
        stem_kernel, stem_stride, stem_pool: the first convolution, and whether a 3x3 max
            pooling of stride 2 follows it.
        pool_digits: for each stage a number n: archs of the pool use the digits 1..n there.
        depths: the least and the largest number of blocks of each stage, in 1..9.
        projects: whether a first block that changes the shape has a 1x1 convolution as its shortcut, or none.
        codes: how archs are written: `track1` (the competition's 52 characters and their like), or `widths`
            (a digit for each width in the order of the network, the widest with the largest digit; for fixed depths).
    """

    kind: ClassVar[str] = "resnet"

    name: str
    base_widths: tuple[int, ...]
    ratios: tuple[float, ...]
    divisor: int
    strides: tuple[int, ...]
    stem_kernel: int
    stem_stride: int
    stem_pool: bool
    in_channels: int
    resolution: int
    pool_digits: tuple[int, ...] = (3, 3, 5, 7)
    depths: tuple[tuple[int, int], ...] = ((2, 5), (2, 5), (2, 8), (2, 5))
    block: BlockKind = "basic"
    projects: bool = True
    codes: Literal["track1", "widths"] = "track1"

    def __post_init__(self) -> None:
        self._check_shape()
        self._check_numbers()

    def _check_shape(self) -> None:
        stages = len(self.base_widths)
        if not stages:
            self.refuse("base_widths is empty, expected a width for each stage")
        for field in ("strides", "pool_digits", "depths"):
            if len(getattr(self, field)) != stages:
                self.refuse(f"{field} has {len(getattr(self, field))} values, expected {stages}")
        if not 1 <= self.digits <= 9:
            self.refuse(f"ratios has {self.digits} values, expected 1 to 9")
        if not all(len(depth) == 2 and 1 <= depth[0] <= depth[1] <= 9 for depth in self.depths):
            self.refuse(f"depths are {self.depths}, expected for each stage the least and the most blocks, in 1..9")
        if self.block not in get_args(BlockKind):
            self.refuse(f"block is {self.block!r}, expected one of {', '.join(get_args(BlockKind))}")
        if self.codes not in ("track1", "widths"):
            self.refuse(f"codes is {self.codes!r}, expected one of track1, widths")
        if self.codes == "widths" and any(least != most for least, most in self.depths):
            self.refuse(f"depths are {self.depths}, but codes of widths need fixed depths")

    def _check_numbers(self) -> None:
        if list(self.ratios) != sorted(self.ratios, reverse=True) or not 0 < self.ratios[-1] <= self.ratios[0] <= 1:
            self.refuse(f"ratios are {self.ratios}, expected falling values in (0, 1]")
        numbers = (*self.base_widths, *self.strides, self.divisor, self.stem_stride, self.in_channels, self.resolution)
        if min(numbers) < 1:
            self.refuse("widths, strides, divisor, channels and resolution must be positive")
        if self.stem_kernel % 2 == 0:
            self.refuse(f"stem_kernel is {self.stem_kernel}, expected an odd size")
        if not 1 <= min(self.pool_digits) <= max(self.pool_digits) <= self.digits:
            self.refuse(f"pool_digits are {self.pool_digits}, expected each in 1..{self.digits}")

    @property
    def digits(self) -> int:
        return len(self.ratios)

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The depths of all stages, their out digits, then the mid digits of all blocks."""
        digits, found = tuple(range(1, self.digits + 1)), []
        for stage, (least, most) in enumerate(self.depths):
            found.append(Slot(f"{stage} depth", stage, "depth", tuple(range(least, most + 1))))
        for stage in range(len(self.depths)):
            found.append(Slot(f"{stage} out", stage, "out", digits, falling=True))
        for stage, (_, most) in enumerate(self.depths):
            for position in range(most):
                when = (stage, position + 1)
                found.append(Slot(f"{stage} mid {position}", stage, "mid", digits, falling=True, when=when))
        return tuple(found)

    @cached_property
    def pool_options(self) -> Options:
        """All depths, and the digits 1..n that the pool uses in each stage."""
        pools = [tuple(range(1, most + 1)) for most in self.pool_digits]
        return tuple(slot.options if slot.role == "depth" else pools[slot.stage] for slot in self.slots)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        stages = len(self.depths)
        found = [Place(STEM, (stages,))]
        for stage, (_, most) in enumerate(self.depths):
            out = stages + stage
            for position in range(most):
                before = (out - 1,) if stage and not position else ()
                reads = (*before, out, self._mids[stage] + position)
                found.append(Place(stage, reads, out, when=(stage, position + 1)))
        return tuple(found)

    @cached_property
    def _mids(self) -> tuple[int, ...]:
        """Number of the first mid slot of each stage."""
        return tuple(accumulate((most for _, most in self.depths), initial=2 * len(self.depths)))[:-1]

    def block_at(self, place: int, arch: Arch) -> Block:
        stages, (stage, reads, out, *_) = len(self.depths), self.places[place]
        stem = self.mid_width(0, arch[stages])
        if stage == STEM:
            op = Op(self.in_channels, stem, self.stem_kernel, self.stem_stride, act="relu")
            return Block((op,), None, pool=self.stem_pool)
        assert out is not None
        width, mid = self.width(stage, arch[out]), self.mid_width(stage, arch[reads[-1]])
        make = basic if self.block == "basic" else bottleneck
        if self.places[place - 1].stage == stage:
            return make(width, mid, width)
        inputs = self.width(stage - 1, arch[out - 1]) if stage else stem
        return make(inputs, mid, width, self.strides[stage], projects=self.projects)

    @cached_property
    def head_reads(self) -> tuple[int, ...]:
        return (2 * len(self.depths) - 1,)

    def head(self, arch: Arch) -> Head:
        return Head(self.width(-1, arch[self.head_reads[0]]))

    def arch(self, outs: Sequence[int], mids: Sequence[Sequence[int]]) -> Arch:
        """The arch with these out digits, one for each stage, and mid digits, one for each block.

        Raises:
            InputError: it does not belong to this space, see `check`.
        """
        padded = ((*each, *(0,) * (most - len(each))) for each, (_, most) in zip(mids, self.depths, strict=True))
        arch = (*map(len, mids), *outs, *(digit for each in padded for digit in each))
        self.check(arch)
        return arch

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.depths, self.digits)

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """The slots in the order in which codes of widths have them: a stage's out digit, then its mid digits.

        The output of the first stage is the stem's, so it comes first. A later stage's first middle stands before its
        output, as in the network.
        """
        order: list[int] = []
        for stage, (most, _) in enumerate(self.depths):
            mids = [self._mids[stage] + position for position in range(most)]
            out = len(self.depths) + stage
            order += [out, *mids] if stage == 0 else [mids[0], out, *mids[1:]]
        return tuple(order)

    @property
    def code_length(self) -> int:
        return self._codes.length if self.codes == "track1" else len(self._order)

    def encode(self, arch: Arch) -> str:
        self.check(arch)
        if self.codes == "track1":
            return self._codes.encode(arch)
        return "".join(str(self.digits + 1 - arch[slot]) for slot in self._order)

    def decode(self, code: str) -> Arch:
        """As in all spaces. Files of the competition also contain codes without the leading `1`; these are accepted."""
        if self.codes == "track1":
            return self._codes.decode(code)
        written = dict(zip(self._order, code, strict=False))
        for number, digit in enumerate(code, start=1):
            if digit not in map(str, range(1, self.digits + 1)):
                self.refuse(f"code {code!r}: character {number} is {digit!r}, expected a digit in 1..{self.digits}")
        if len(code) != len(self._order):
            self.refuse(f"code {code!r} has {len(code)} characters, expected {len(self._order)}")
        depths = tuple(most for _, most in self.depths)
        slots = range(len(depths), len(self.slots))
        return (*depths, *(self.digits + 1 - int(written[slot]) for slot in slots))

    def width(self, stage: int, digit: int) -> int:
        """The output channels that a digit (1, 2, ...) stands for in a stage (0, 1, ...)."""
        return round_width(self.base_widths[stage] * self.ratios[digit - 1], self.divisor)

    def mid_width(self, stage: int, digit: int) -> int:
        """The middle channels that a digit stands for in a stage."""
        return round_width(self.base_widths[stage] / EXPANSION[self.block] * self.ratios[digit - 1], self.divisor)
