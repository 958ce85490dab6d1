"""The spaces that the rules can choose, around a ResNet-18 that is within the bounds, by resolution and width."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.fitting.look import Seen
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.opponents import reference
from fewshot_nas.space.cost import Bound, cost_measures, shown
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch

SIDES = (224, 192, 160, 128, 96, 64, 48, 32)
PHOTO_SIDE = 64
WIDTHS = (128, 96, 80, 64, 48, 40, 32, 24, 20, 16, 12, 8)
_RATIOS = (1.0, 0.85, 0.7, 0.55, 0.4)
_UNSHRUNK = 40  # the largest side at which stems have stride 1
_PX28 = cast(ResNetSpace, SPACES["px28"])
_REPLACED = (
    "base_widths", "ratios", "divisor", "strides", "stem_kernel", "stem_stride", "stem_pool", "in_channels",
    "resolution", "pool_digits", "depths",
)  # fmt: skip


@dataclass(frozen=True)
class OwnSpace:
    """A space, or a part of one, that was given instead of being chosen.

    Attributes:
        stem_kernel: of the file with weights to begin with; only of stems with stride 2, as such files have.
    """

    space: ResNetSpace | None = None
    resolution: int | None = None
    stem_kernel: int = _PX28.stem_kernel


def own_space(config: Config, given: Sequence[str], seen: Seen) -> OwnSpace:
    """What settings say of the space.

    Args:
        given: settings as overrides.

    Raises:
        InputError: they name a space of another kind, or a part of one.
    """
    if not any(each.startswith("space.preset=") for each in given):
        for each in given:
            if each.startswith("space.") and not each.startswith("space.resolution="):
                raise InputError(f"{each!r}: fit chooses the space; give space.preset with it, or leave it out")
        return OwnSpace(None, config.space.resolution)
    space = config.space.build()
    if not isinstance(space, ResNetSpace):
        raise InputError(f"space.preset is {config.space.preset!r}, but fit compares with a ResNet; expected ResNets")
    if space.in_channels != seen.channels:
        raise InputError(f"the images have {seen.channels} channels; set space.in_channels={seen.channels}")
    return OwnSpace(space)


def given_as(space: ResNetSpace) -> dict[str, Any]:
    """The values that make the space of its preset."""
    values = ((key, getattr(space, key)) for key in _REPLACED if getattr(space, key) != getattr(_PX28, key))
    return {"preset": "px28", **{key: _plain(value) for key, value in values}}


def spaces_within(seen: Seen, bounds: Sequence[Bound], machine: Machine, own: OwnSpace) -> Iterator[ResNetSpace]:
    """Spaces whose reference is within the bounds: for each side, the largest first, the three widest, then narrower
    ones for the smallest.
    """
    sides, kernel = [own.resolution] if own.resolution else _sides(seen), own.stem_kernel
    most = by_count(seen.train, (5_000, 16), (50_000, 32), (None, 64)) if not bounds else WIDTHS[0]

    def fits(space: ResNetSpace) -> bool:
        found = costs(space, reference(space), bounds, machine)
        return all(value <= bound.high for value, bound in zip(found, bounds, strict=True))

    for least in (12, WIDTHS[-1]):
        narrower: list[ResNetSpace] = []
        found = 0
        for side in sides:
            spaces = [space_of(seen, side, width, kernel) for width in WIDTHS if least <= width <= most]
            within = _first(spaces, fits)
            yield from spaces[within : within + 3]
            if within < len(spaces):
                narrower, found = spaces[within + 3 :], side
        yield from narrower
        if found:
            if least > WIDTHS[-1]:
                yield space_of(seen, found, WIDTHS[-1], kernel)
            return


def _sides(seen: Seen) -> list[int]:
    return [side for side in SIDES if side <= seen.side] if seen.side >= PHOTO_SIDE else [max(8, seen.side // 4 * 4)]


def _first(spaces: Sequence[ResNetSpace], fits: Callable[[ResNetSpace], bool]) -> int:
    """The place of the first space that fits, by bisection; their number if none does."""
    low, high = 0, len(spaces)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(spaces[middle]) else (middle + 1, high)
    return low


def space_of(seen: Seen, side: int, width: int, stem_kernel: int = _PX28.stem_kernel) -> ResNetSpace:
    """The space for images of a side, whose first stage has up to `width` channels.

    Args:
        stem_kernel: of stems with stride 2.
    """
    return replace(
        _PX28,
        name="px28 changed",
        base_widths=tuple(width * 2**stage for stage in range(4)),
        ratios=_RATIOS,
        divisor=8,  # other widths are slow, and stems of fewer channels may crash oneDNN
        strides=(1, 1, 2, 2) if side < 20 else (1, 2, 2, 2),
        stem_kernel=_PX28.stem_kernel if side <= _UNSHRUNK else stem_kernel,
        stem_stride=1 if side <= _UNSHRUNK else 2,
        stem_pool=side >= 160,
        in_channels=seen.channels,
        resolution=side,
        pool_digits=(5, 5, 5, 5),
        depths=((1, 3), (1, 3), (1, 4), (1, 3)),
    )


def costs(space: ResNetSpace, arch: Arch, bounds: Sequence[Bound], machine: Machine) -> list[float]:
    """What bounds have to allow an arch."""
    counted = cost_measures(space, num_classes=machine.classes)
    return [
        machine.calls_us(space, [arch])[0] if bound.name == "latency" else counted[bound.name].of(space, arch)
        for bound in bounds
    ]


def bitten(space: ResNetSpace, largest: ResNetSpace, bounds: Sequence[Bound], machine: Machine) -> str:
    """What the bounds leave of a space, and of the largest one within them.

    Args:
        largest: the largest whose reference is within the bounds, which may be this one.
    """
    bounds, said = bounds or [Bound("macs")], ""
    archs = ((space, reference(space)), (space, space.largest), (largest, reference(largest)))
    for bound, own, most, allowed in zip(bounds, *(costs(*each, bounds, machine) for each in archs), strict=True):
        named = "" if bound.high == math.inf else f" of the {shown(bound.name, bound.high)} allowed"
        said += f"; it has {_rounded(bound, own)} {bound.name}{named}, the largest network {_rounded(bound, most)}"
        if most <= bound.high < math.inf:
            said += ", so the bound excludes none"
        if largest != space and bound.high < math.inf:
            said += f" (one of {_rounded(bound, allowed)}, at {largest.resolution} px, would take too long)"
    return said


def _rounded(bound: Bound, value: float) -> str:
    return shown(bound.name, float(f"{value:.3g}"))


def out_of_reach(seen: Seen, bounds: Sequence[Bound], machine: Machine, own: OwnSpace) -> str:
    """What the narrowest networks have of the bound that they miss by most, at the side where they miss it least."""
    found = []
    for side in [own.resolution] if own.resolution else _sides(seen):
        space = space_of(seen, side, WIDTHS[-1], own.stem_kernel)
        values = costs(space, reference(space), bounds, machine)
        pairs = zip(bounds, values, strict=True)
        found.append((side, *max(pairs, key=lambda pair: pair[0].excess(pair[1]))))
    side, bound, value = min(found, key=lambda each: each[1].excess(each[2]))
    return (
        f"no network that fit would plan has {bound}: its spaces are made around a ResNet-18, and the narrowest, of"
        f" {WIDTHS[-1]} channels at {side} px, has {_rounded(bound, value)}; allow more, or give a space of your own"
        " (space.preset=...)"
    )


def by_count(count: int, *rows: tuple[int | None, int]) -> int:
    """The value of the first row whose number is not below a count; None is above all."""
    return next(value for most, value in rows if most is None or count <= most)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
