"""Every kind of space, and of split, with networks small enough for many tests: grey images of 8 x 8 pixels."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from fewshot_nas.space.block import Block, Head, Op, inverted_residual, residual
from fewshot_nas.space.macro import MacroSpace
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import STEM, Arch, Options, Place, Slot, Space
from fewshot_nas.space.split import by_choice, by_width, one_shot, shared
from studies.arms.splits import by_depth


@dataclass(frozen=True)
class GatedSpace(Space):
    """What no preset has: SiLU, squeeze-and-excitation in any operation, kernels that share, a hidden layer."""

    kind: ClassVar[str] = "gated"

    name: str = "gated"
    in_channels: int = 1
    resolution: int = 8

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """A depth and a width; the kernels of up to three blocks; a width and an expansion."""
        kernels = (Slot(f"0 block {n}", 0, "block", (1, 2), when=(0, n + 1)) for n in range(3))
        first = Slot("0 depth", 0, "depth", (1, 2, 3)), Slot("0 out", 0, "out", (1, 2))
        return (*first, *kernels, Slot("1 out", 1, "out", (1, 2, 3)), Slot("1 mid", 1, "mid", (1, 2, 3)))

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stem, three inverted residuals, and a block with two whole convolutions."""
        blocks = (Place(0, (1, 2 + n), 1, when=(0, n + 1)) for n in range(3))
        return (Place(STEM, (1,)), *blocks, Place(1, (1, 5, 6), 5))

    def block_at(self, place: int, arch: Arch) -> Block:
        """The block of the place."""
        width, out = 2 + 2 * arch[1], 3 + 3 * arch[5]
        if place == 0:
            return Block((Op(self.in_channels, width, 3, act="silu"),), None)
        if place <= 3:
            return inverted_residual(width, 2 * width, width, 1 + 2 * arch[1 + place], act="silu", squeeze=width // 2)
        mid = 4 * arch[6]
        main = Op(width, mid, 3, 2, act="silu", squeeze=mid // 2), Op(mid, out, 1, squeeze=2)
        return residual(main, "silu", projects=True)

    @property
    def head_reads(self) -> tuple[int, ...]:
        """The last width."""
        return (5,)

    def head(self, arch: Arch) -> Head:
        """A hidden layer twice as wide as the last map."""
        out = 3 + 3 * arch[5]
        return Head(out, 2 * out, "silu")


def small(name: str) -> Space:
    """A preset for small grey images."""
    return replace(SPACES[name], name=f"small {name}", in_channels=1, resolution=8)


PX8, GATED = SPACES["px8"], GatedSpace()
CIFAR = replace(small("cifar"), depths=((2, 4),) * 3)
BOTTLENECK = replace(
    PX8,
    name="bottlenecks",
    base_widths=(16, 16, 32),
    strides=(1, 2, 2),
    pool_digits=(7, 7, 7),
    depths=((1, 3), (2, 4), (1, 3)),
    block="bottleneck",
)
CHANNELS, MOBILE, MACRO = map(small, ("channel_resnet_quarter", "channel_mobilenet_quarter", "macro_quarter"))
# Every choice is an inverted residual, so that choices can share tensors.
CHOICES = MacroSpace(
    "choices",
    in_channels=1,
    resolution=8,
    stem_width=4,
    widths=(6, 8),
    lengths=(2, 2),
    last_width=12,
    choices=((3, 2), (5, 3), (7, 1)),
)
MBCONV = MBConvSpace(
    "mbconvs",
    lengths=(1, 2),
    stem_width=8,
    stem_stride=1,
    widths=(8, 16),
    strides=(1, 2),
    last_width=16,
    head_width=12,
    kernels=(3, 5),
    expansions=(1, 2),
    in_channels=1,
    resolution=8,
)
ALL = (PX8, CIFAR, BOTTLENECK, CHANNELS, MOBILE, MACRO, CHOICES, MBCONV, GATED)

SPLITS = (
    *map(one_shot, ALL),
    *(by_width(space, 3) for space in (PX8, BOTTLENECK, CHANNELS, MOBILE, GATED)),
    by_depth(PX8, [0, 1, 2, 3], 3),
    by_depth(BOTTLENECK, [1, 2], 2),
    by_depth(GATED, [0], 3),
    by_depth(PX8, [0, 2], 2).within(by_width(PX8, 2)),
    by_choice(MACRO, ["0 block 0"]).within(one_shot(MACRO)),
    by_choice(MOBILE, ["0 out", "1 mid 1"]),
    by_choice(GATED, ["1 mid"]),
    shared(CHOICES),
    shared(MBCONV),
    by_choice(MBCONV, ["2 block 1"]).within(one_shot(MBCONV)),
    by_choice(CHOICES, ["1 block 1"]).within(shared(CHOICES)),
)
# (parent, finer split)
FINER = (
    *((one_shot(space), by_width(space, 2)) for space in (PX8, CIFAR, BOTTLENECK, CHANNELS, MOBILE, GATED)),
    (by_width(MOBILE, 2), by_width(MOBILE, 4)),
    (by_width(GATED, 2), by_depth(GATED, [0], 2).within(by_width(GATED, 2))),
    (one_shot(MACRO), by_choice(MACRO, ["0 block 0", "2 block 1"]).within(one_shot(MACRO))),
    (one_shot(GATED), by_choice(GATED, ["0 out", "1 mid"])),
    (shared(CHOICES), one_shot(CHOICES)),
    (shared(MBCONV), one_shot(MBCONV)),
    (shared(CHOICES), by_choice(CHOICES, ["0 block 1"])),
)


def named(split):
    """The name of a test's split."""
    return f"{split.space.name} {split.name}"


def few(space: Space) -> Options:
    """Options so few that equal archs, equal networks and common beginnings occur."""
    kept = ("depth", "block")
    return tuple(slot.options if slot.role in kept else slot.options[:2] for slot in space.slots)
