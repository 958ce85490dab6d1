"""ResNets (arXiv:1512.03385) with a choice of depths and widths: the competition's space and its like; their codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Literal, NoReturn, get_args

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Head, Op, basic, bottleneck
from fewshot_nas.space.space import STEM, Arch, Options, Place, Slot, Space, round_width

BlockKind = Literal["basic", "bottleneck"]
EXPANSION = {"basic": 1, "bottleneck": 4}  # a block's widest output, as a multiple of its widest middle
_TO_TEXT = bytes((byte + ord("0")) % 256 for byte in range(256))
_TO_DIGITS = bytes((byte - ord("0")) % 256 for byte in range(256))


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
    def _codes(self) -> "Codes":
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


@dataclass(frozen=True)
class Codes:
    """The codes of archs in files, for given depths and digits: 52 characters for the competition's space.

    The layout is the competition's: a literal `1`, the depth of each stage, the stem's digit, then two digits, `mid`
    and `out`, for each block slot of each stage. A slot without a block is `00`. Much of this is redundant. An arch
    keeps only what varies (the depths, the out digits, then the mid digits of all slots), and `decode` refuses a code
    whose redundant parts disagree.

    Attributes:
        depths: the least and the largest number of blocks of each stage.
        digits: the largest digit, at most 9; widths are chosen by the digits 1..digits.
    """

    depths: tuple[tuple[int, int], ...]
    digits: int

    @cached_property
    def stages(self) -> int:
        return len(self.depths)

    @cached_property
    def length(self) -> int:
        return 2 + self.stages + 2 * sum(most for _, most in self.depths)

    def encode(self, arch: Arch) -> str:
        """The code of an arch, which must have been checked. `decode` reads it back."""
        depths, outs = arch[: self.stages], arch[self.stages : 2 * self.stages]
        code = bytearray(self.length)
        code[0] = 1
        code[1 : 1 + self.stages] = bytes(depths)
        code[1 + self.stages] = outs[0]
        first = 2 * self.stages
        for start, out, depth, (_, most) in zip(self._starts, outs, depths, self.depths, strict=True):
            end = start + 2 * depth
            code[start:end:2] = bytes(arch[first : first + depth])
            code[start + 1 : end : 2] = bytes((out,)) * depth
            first += most
        return code.translate(_TO_TEXT).decode()

    def decode(self, code: str) -> Arch:
        """The arch that a code stands for.

        Files also contain codes without the leading `1`; these are accepted.

        Raises:
            InputError: the code is malformed; names the first wrong character, counted from 1.
        """
        # If a code that is one character short begins with 1, its last character is missing, not its first.
        bare = len(code) == self.length - 1 and not code.startswith("1")
        full = "1" + code if bare else code
        if len(full) != self.length:
            raise InputError(f"code {code!r} has {len(code)} characters, expected {self.length}")
        digits = full.encode("ascii", "replace").translate(_TO_DIGITS)
        if digits[0] != 1 or digits[1 + self.stages] != digits[self._starts[0] + 1]:
            self._refuse(code, full)
        mids: list[int] = []
        for stage, (start, (least, most)) in enumerate(zip(self._starts, self.depths, strict=True)):
            depth, out = digits[1 + stage], digits[start + 1]
            end = start + 2 * depth
            live = digits[start:end]
            if (
                not least <= depth <= most
                or not self._known.issuperset(live)
                or live[1::2] != bytes((out,)) * depth
                or any(digits[end : start + 2 * most])
            ):
                self._refuse(code, full)
            mids += [*live[::2], *(0,) * (most - depth)]
        return (*digits[1 : 1 + self.stages], *(digits[start + 1] for start in self._starts), *mids)

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        """Where each stage's block slots begin."""
        slots = (2 * most for _, most in self.depths)
        return tuple(accumulate(slots, initial=2 + self.stages))[:-1]

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(range(1, self.digits + 1))

    def _refuse(self, code: str, full: str) -> NoReturn:
        """Name the first character at which a code of the right length breaks the rules."""
        position, rule = next(self._violations(full))
        shown = position - (len(full) - len(code))
        raise InputError(f"code {code!r}: character {shown + 1} is {full[position]!r}, but {rule}")

    def _violations(self, full: str) -> Iterator[tuple[int, str]]:
        if full[0] != "1":
            yield 0, "a code begins with '1'"
        for stage, (least, most) in enumerate(self.depths):
            if full[1 + stage] not in map(str, range(least, most + 1)):
                yield 1 + stage, f"stage {stage + 1} has {least}..{most} blocks"
        if not self._is_digit(full[1 + self.stages]):
            yield 1 + self.stages, f"the stem's digit is in 1..{self.digits}"
        for stage in range(self.stages):
            yield from self._stage_violations(full, stage)

    def _stage_violations(self, full: str, stage: int) -> Iterator[tuple[int, str]]:
        start, depth = self._starts[stage], int(full[1 + stage])
        out = full[1 + self.stages] if stage == 0 else full[start + 1]
        for position in range(start, start + 2 * self.depths[stage][1]):
            slot, is_out = divmod(position - start, 2)
            where = f"block {slot + 1} of stage {stage + 1}"
            if slot >= depth:
                if full[position] != "0":
                    yield position, f"{where} is absent (depth {depth}) and is written '00'"
            elif not self._is_digit(full[position]):
                yield position, f"digits of {where} are in 1..{self.digits}"
            elif is_out and full[position] != out:
                source = "the stem's" if stage == 0 else "its first block's"
                yield position, f"every out digit of stage {stage + 1} is {out!r}, as {source}"

    def _is_digit(self, character: str) -> bool:
        return character in map(str, self._known)
