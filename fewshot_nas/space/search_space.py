"""A search space: its stages, depths, widths, blocks and stem, and the meaning of the digits."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args

from fewshot_nas.errors import InputError
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import EXPANSION, Block, BlockKind
from fewshot_nas.space.codes import Codes

_CHANGED = " changed"


@dataclass(frozen=True)
class SearchSpace:
    """A family of ResNets and the codes that stand for them.

    `base_widths` has one value for each stage, `ratios` one for each digit.

    Attributes:
        base_widths: output channels of each stage at ratio 1.0. The middle of a bottleneck has a
            quarter of them. The stem is as wide as the first stage's middle.
        ratios: the ratios that the digits 1, 2, ... stand for, falling; at most 9.
        divisor: widths are rounded to multiples of this number.
        strides: the stride of each stage's first block.
        stem_kernel, stem_stride, stem_pool: the first convolution, and whether a 3x3 max
            pooling of stride 2 follows it.
        in_channels, resolution: channels and side of the images.
        pool_digits: for each stage a number n: archs of the pool use the digits 1..n there.
        depths: the least and the largest number of blocks of each stage, in 1..9.
        block: `basic` or `bottleneck`.
    """

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

    def __post_init__(self) -> None:
        self._check_shape()
        self._check_numbers()

    def _check_shape(self) -> None:
        if not self.stages:
            self._refuse("base_widths is empty, expected a width for each stage")
        for field in ("strides", "pool_digits", "depths"):
            if len(getattr(self, field)) != self.stages:
                self._refuse(f"{field} has {len(getattr(self, field))} values, expected {self.stages}")
        if not 1 <= self.digits <= 9:
            self._refuse(f"ratios has {self.digits} values, expected 1 to 9")
        if not all(len(depth) == 2 and 1 <= depth[0] <= depth[1] <= 9 for depth in self.depths):
            self._refuse(f"depths are {self.depths}, expected for each stage the least and the most blocks, in 1..9")
        if self.block not in get_args(BlockKind):
            self._refuse(f"block is {self.block!r}, expected one of {', '.join(get_args(BlockKind))}")

    def _check_numbers(self) -> None:
        if list(self.ratios) != sorted(self.ratios, reverse=True) or not 0 < self.ratios[-1] <= self.ratios[0] <= 1:
            self._refuse(f"ratios are {self.ratios}, expected falling values in (0, 1]")
        numbers = (*self.base_widths, *self.strides, self.divisor, self.stem_stride, self.in_channels, self.resolution)
        if min(numbers) < 1:
            self._refuse("widths, strides, divisor, channels and resolution must be positive")
        if self.stem_kernel % 2 == 0:
            self._refuse(f"stem_kernel is {self.stem_kernel}, expected an odd size")
        if not 1 <= min(self.pool_digits) <= max(self.pool_digits) <= self.digits:
            self._refuse(f"pool_digits are {self.pool_digits}, expected each in 1..{self.digits}")

    def _refuse(self, reason: str) -> None:
        raise InputError(f"space {self.name}: {reason}")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "SearchSpace":
        """The space that `values` described.

        Raises:
            InputError: the values do not describe a space.
            AttributeError, TypeError: they do not have the form of such values.
        """
        return cls(**{key: _immutable(value) for key, value in values.items()})

    def values(self) -> dict[str, Any]:
        """The space as plain values, for files; `of` reads them back."""
        return dataclasses.asdict(self)

    def marked(self) -> "SearchSpace":
        """This space, renamed to `<preset> changed` if it has a preset's name but other values."""
        changed = self != SPACES.get(self.name, self)
        return dataclasses.replace(self, name=self.name + _CHANGED) if changed else self

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.base_widths)

    @property
    def digits(self) -> int:
        """Number of digits that choose a width."""
        return len(self.ratios)

    @property
    def all_digits(self) -> tuple[int, ...]:
        """The narrowest digit of each stage, if all digits are used."""
        return (self.digits,) * self.stages

    def in_pool(self, arch: Arch) -> bool:
        """Whether an arch has the pool's digits only."""
        stages = zip(self.pool_digits, arch.outs, arch.mids, strict=True)
        return all(max(out, *mids) <= most for most, out, mids in stages)

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.depths, self.digits)

    @property
    def code_length(self) -> int:
        """Number of characters of a code."""
        return self._codes.length

    def check(self, arch: Arch) -> None:
        """Refuse an arch that does not belong to this space.

        Raises:
            InputError: says which number of stages, depth or digit is wrong.
        """
        self._codes.check(arch)

    def encode(self, arch: Arch) -> str:
        """The code of an arch. `decode` reads it back.

        Raises:
            InputError: the arch does not belong to this space, see `check`.
        """
        return self._codes.encode(arch)

    def decode(self, code: str) -> Arch:
        """The arch that a code stands for.

        Files also contain codes without the leading `1`; these are accepted.

        Raises:
            InputError: the code is malformed; names the first wrong character, counted from 1.
        """
        return self._codes.decode(code)

    @cached_property
    def _width_table(self) -> tuple[tuple[int, ...], ...]:
        return tuple(map(self._rounded, self.base_widths))

    @cached_property
    def _mid_table(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self._rounded(base / EXPANSION[self.block]) for base in self.base_widths)

    @cached_property
    def _distinct_widths(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(sorted(set(table))) for table in self._width_table)

    def _rounded(self, base: float) -> tuple[int, ...]:
        return tuple(round_width(base * ratio, self.divisor) for ratio in self.ratios)

    def width(self, stage: int, digit: int) -> int:
        """The output channels that a digit (1, 2, ...) stands for in a stage (0, 1, ...)."""
        return self._width_table[stage][digit - 1]

    def mid_width(self, stage: int, digit: int) -> int:
        """The middle channels that a digit stands for in a stage."""
        return self._mid_table[stage][digit - 1]

    def stem_width(self, digit: int) -> int:
        """The stem's channels if the first stage has this out digit."""
        return self._mid_table[0][digit - 1]

    def widths(self, stage: int) -> tuple[int, ...]:
        """The distinct output widths of a stage, ascending."""
        return self._distinct_widths[stage]

    def blocks(self, arch: Arch) -> tuple[Block, ...]:
        """The blocks of a subnet in order, described by their effective widths.

        Raises:
            InputError: the arch does not belong to this space, see `check`.
        """
        self.check(arch)
        blocks, kind = [], self.block
        inputs = self._mid_table[0][arch.outs[0] - 1]
        for stage, (digit, mids) in enumerate(zip(arch.outs, arch.mids, strict=True)):
            table, stride, out = self._mid_table[stage], self.strides[stage], self._width_table[stage][digit - 1]
            for mid in mids:
                blocks.append(Block(stage, inputs, table[mid - 1], out, stride, kind))
                inputs, stride = out, 1
        return tuple(blocks)


def round_width(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`; the next one if that is less than 90 % of it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def preset_of(name: str) -> str:
    """The preset that a space's name begins with."""
    return name.removesuffix(_CHANGED)


def _immutable(value: Any) -> Any:
    return tuple(map(_immutable, value)) if isinstance(value, list | tuple) else value


_PIXELS = SearchSpace(
    name="px28",
    base_widths=(8, 16, 32, 64),
    ratios=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    divisor=1,
    strides=(1, 2, 2, 2),
    stem_kernel=3,
    stem_stride=1,
    stem_pool=False,
    in_channels=1,
    resolution=28,
)
_TRACK1 = SearchSpace(
    name="track1",
    base_widths=(64, 128, 256, 512),
    ratios=(1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7),
    divisor=8,
    strides=(1, 2, 2, 2),
    stem_kernel=7,
    stem_stride=2,
    stem_pool=True,
    in_channels=3,
    resolution=224,
)
_EIGHTHS = (1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)

SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {
        space.name: space
        for space in (
            _TRACK1,
            _PIXELS,
            dataclasses.replace(_PIXELS, name="px8", strides=(1, 1, 2, 2), resolution=8),
            # The ResNets for CIFAR (arXiv:1512.03385): 3, 5 and 9 blocks per stage give ResNet-20, -32 and -56.
            SearchSpace(
                name="cifar",
                base_widths=(16, 32, 64),
                ratios=_EIGHTHS,
                divisor=1,
                strides=(1, 2, 2),
                stem_kernel=3,
                stem_stride=1,
                stem_pool=False,
                in_channels=3,
                resolution=32,
                pool_digits=(7, 7, 7),
                depths=((2, 9), (2, 9), (2, 9)),
            ),
            # ResNet-50 has the depths 3, 4, 6, 3 and all digits 1.
            dataclasses.replace(
                _TRACK1,
                name="resnet50",
                base_widths=(256, 512, 1024, 2048),
                ratios=_EIGHTHS,
                pool_digits=(7, 7, 7, 7),
                depths=((2, 4), (2, 5), (2, 8), (2, 4)),
                block="bottleneck",
            ),
        )
    }
)
