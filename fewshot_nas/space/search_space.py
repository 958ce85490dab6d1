"""What the digits of an arch mean: widths, strides, the stem, and the few-shot groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from fewshot_nas.errors import InputError
from fewshot_nas.space.arch import DIGITS, POOL_DIGITS, STAGES, Arch

MAX_GROUPS = 7


class Block(NamedTuple):
    """One basic block by its effective widths; equal blocks compute the same function."""

    stage: int
    inputs: int
    mid: int
    out: int
    stride: int

    @property
    def projects(self) -> bool:
        """Whether the shortcut is a 1x1 convolution because the shape changes."""
        return self.stride != 1 or self.inputs != self.out


@dataclass(frozen=True)
class SearchSpace:
    """Widths, strides and stem of a family of ResNets that the same codes describe.

    Attributes:
        base_widths: channels of each stage at ratio 1.0; the stem has the first stage's.
        ratios: what the digits 1..7 mean, from the widest down.
        divisor: widths are rounded to multiples of it.
        strides: of the first block of each stage.
        pool_digits: the pool uses the digits 1..n of each stage, n given here.
        stem_kernel, stem_stride, stem_pool: the first convolution, and whether a 3x3 max
            pooling of stride 2 follows it.
        in_channels, resolution: of the images, for costs and defaults.
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
    pool_digits: tuple[int, ...] = POOL_DIGITS

    def __post_init__(self) -> None:
        for field, expected in (
            ("base_widths", STAGES),
            ("strides", STAGES),
            ("pool_digits", STAGES),
            ("ratios", DIGITS),
        ):
            if len(getattr(self, field)) != expected:
                raise InputError(
                    f"space {self.name}: {field} has {len(getattr(self, field))} values, expected {expected}"
                )
        if list(self.ratios) != sorted(self.ratios, reverse=True) or not 0 < self.ratios[-1] <= self.ratios[0] <= 1:
            raise InputError(f"space {self.name}: ratios are {self.ratios}, expected falling values in (0, 1]")
        if (
            min(self.base_widths + self.strides + (self.divisor, self.stem_stride, self.in_channels, self.resolution))
            < 1
        ):
            raise InputError(f"space {self.name}: widths, strides, divisor, channels and resolution must be positive")
        if self.stem_kernel % 2 == 0:
            raise InputError(f"space {self.name}: stem_kernel is {self.stem_kernel}, expected an odd size")
        if not 1 <= min(self.pool_digits) <= max(self.pool_digits) <= DIGITS:
            raise InputError(f"space {self.name}: pool_digits are {self.pool_digits}, expected each in 1..{DIGITS}")

    @cached_property
    def _width_table(self) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(round_width(base * ratio, self.divisor) for ratio in self.ratios) for base in self.base_widths
        )

    @cached_property
    def _distinct_widths(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(sorted(set(table))) for table in self._width_table)

    def width(self, stage: int, digit: int) -> int:
        """Channels that a digit (1..7) means in a stage (0..3)."""
        return self._width_table[stage][digit - 1]

    def widths(self, stage: int) -> tuple[int, ...]:
        """The distinct widths of a stage, ascending."""
        return self._distinct_widths[stage]

    def group_caps(self, stage: int, groups: int) -> tuple[int, ...]:
        """Out-width caps of a stage's groups, ascending: its `groups` largest widths.

        A stage with fewer distinct widths has that many groups.
        """
        if not 1 <= groups <= MAX_GROUPS:
            raise InputError(f"groups is {groups}, expected 1..{MAX_GROUPS}")
        return self.widths(stage)[-groups:]

    def group_of(self, stage: int, groups: int, width: int) -> int:
        """Index of the group that serves an out width: the smallest cap that is not below it."""
        return sum(cap < width for cap in self.group_caps(stage, groups))

    def blocks(self, arch: Arch) -> tuple[Block, ...]:
        """The blocks of a subnet in order, by effective widths."""
        blocks = []
        inputs = self._width_table[0][arch.outs[0] - 1]
        for stage, (digit, mids) in enumerate(zip(arch.outs, arch.mids, strict=True)):
            table, stride = self._width_table[stage], self.strides[stage]
            out = table[digit - 1]
            for mid in mids:
                blocks.append(Block(stage, inputs, table[mid - 1], out, stride))
                inputs, stride = out, 1
        return tuple(blocks)


def round_width(value: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `value`, one step up where that lost more than 10 %."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {
        space.name: space
        for space in (
            SearchSpace(
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
            ),
            SearchSpace(
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
            ),
            SearchSpace(
                name="px8",
                base_widths=(8, 16, 32, 64),
                ratios=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
                divisor=1,
                strides=(1, 1, 2, 2),
                stem_kernel=3,
                stem_stride=1,
                stem_pool=False,
                in_channels=1,
                resolution=8,
            ),
        )
    }
)
