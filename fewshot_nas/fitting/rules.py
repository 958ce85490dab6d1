"""The rules by which the settings of a run follow from its images, its bounds, its time and this machine.

Each rule is one line of `TABLE`, which is printed with what it has chosen, and stands in docs/fit.md.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config
from fewshot_nas.data.images import Images
from fewshot_nas.fitting.look import UNEVEN, Seen
from fewshot_nas.fitting.measure import Machine, decoding_s, preparing_s, threads_of
from fewshot_nas.fitting.opponents import resnets
from fewshot_nas.searching.bounds import Bound, shown
from fewshot_nas.space.cost import cost_measures
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch

TABLE: Mapping[str, str] = MappingProxyType(
    {
        "resolution": "images under 64 px: their side; others: the largest of 32, 48, 64, 96, 128, 160, 192, 224 px"
        " that is not above their side, at which the bound leaves width 12 and the budget half of the epochs wanted",
        "stem": "stride 1 up to 40 px, else 2; from 160 px on with pooling",
        "width": "the widest ResNet-18 within the bound; without a bound 16 up to 5,000 images, 32 up to 50,000, else"
        " 64; narrower where the budget leaves too few epochs",
        "space": "ResNets of 4 stages, 1 to 3 blocks each (the third 1 to 4), 5 widths, with that ResNet-18 among them",
        "batch": "32 up to 2,000 images, 64 up to 20,000, else 128; learning rate 0.05, 0.1, 0.1",
        "epochs": "wanted are 200 up to 1,000 images, 100 up to 10,000, 60 up to 100,000, else 30; given is what the"
        " budget allows, the same for every network; the supernet gets up to half of them",
        "augmentation": "from 64 px on as photographs; smaller: shifted, and mirrored if they have colour",
        "calibration": "256 images up to 2,000, 512 up to 20,000, else 2,048",
        "threads": "all cores, where a step is 1.3 times as fast as with one",
        "stored side": "photographs are kept decoded, with 1.3 times the resolution as their shorter side",
    }
)
SIDES = (224, 192, 160, 128, 96, 64, 48, 32)
PHOTO_SIDE = 64
WIDTHS = (128, 96, 80, 64, 48, 40, 32, 24, 20, 16, 12, 8)
_RATIOS = (1.0, 0.85, 0.7, 0.55, 0.4)
REFERENCE_DIGIT = 2  # of the reference's widths, so that the search can be wider and narrower
FEWEST_EPOCHS, FEWEST_STEPS = 8, 100


@dataclass(frozen=True)
class Sizes:
    """A space that can be chosen, with what its training costs.

    Attributes:
        step_s: of one network of the reference's shape, without its images.
        prepare_s: of an image in each epoch.
        supernet_step_s: of a supernet; None before it is measured, so it is assumed.
        forward_s: of an image of that network when it is scored; None before it is measured.
    """

    space: ResNetSpace
    batch: int
    step_s: float
    prepare_s: float
    supernet_step_s: float | None = None
    forward_s: float | None = None

    def network_s(self, images: int, step_s: float | None = None) -> float:
        """An epoch of one network, whose step may have been measured."""
        return self.steps(images) * (step_s or self.step_s) + images * self.prepare_s

    def supernet_s(self, images: int) -> float:
        """An epoch of the supernet, whose steps train four networks."""
        return self.network_s(images, self.supernet_step_s or self.step_s * SUPERNET_STEP)

    def steps(self, images: int) -> int:
        return max(1, images // self.batch)


SUPERNET_STEP = 4.0  # a step in steps of the reference: a large network, two drawn ones and a small one


@dataclass(frozen=True)
class Chosen:
    """The settings that the rules choose, and what the plan has to know.

    Attributes:
        settings: by section and key.
        wanted: epochs of a network.
        once_s: for decoding all training photographs once.
        why: a line for each rule, with what it has chosen.
    """

    settings: Mapping[str, Mapping[str, Any]]
    sizes: Sizes
    wanted: int
    once_s: float
    why: Mapping[str, str]


def wanted_epochs(images: int) -> int:
    """Of one network that is trained well."""
    return _by(images, (1_000, 200), (10_000, 100), (100_000, 60), (None, 30))


def reference(space: ResNetSpace) -> Arch:
    """ResNet-18's shape, all widths of one digit."""
    return next(islice(resnets(space), (REFERENCE_DIGIT - 1) * len(space.depths), None))


def choose(
    seen: Seen,
    images: Images,
    recipe: str,
    bounds: Sequence[Bound],
    budget_s: float,
    machine: Machine,
    own: "OwnSpace",
) -> Chosen:
    """The settings.

    Args:
        images: to train on.
        recipe: the augmentation that their source proposes.
        budget_s: the seconds that trainings may take.
        own: what was given of the space.

    Raises:
        InputError: no network is within a bound.
    """
    recipe = recipe if recipe == "photo" or seen.side >= PHOTO_SIDE else ("shift" if seen.grey else "shift_flip")
    batch, wanted = _by(seen.train, (2_000, 32), (20_000, 64), (None, 128)), wanted_epochs(seen.train)
    decoding, tried = decoding_s(images), list[Sizes]()
    for space in [own.space] if own.space else _spaces(seen, bounds, machine, own.resolution):
        stored = _stored(seen, space)
        step_s = machine.step_s(space, reference(space), batch)
        tried.append(Sizes(space, batch, step_s, preparing_s(images, recipe, space.resolution, stored)))
        if epochs_within(tried[-1], seen.train, budget_s) >= wanted / 2:
            break
    if not tried:
        raise InputError(_out_of_reach(seen, bounds, machine))
    best = max(tried, key=lambda each: min(epochs_within(each, seen.train, budget_s), wanted / 2))
    space = best.space
    threads = machine.threads(space, reference(space), batch)
    with threads_of(threads):
        step_s = machine.step_s(space, reference(space), batch) if threads > 1 else best.step_s
        supernet_step_s, forward_s = machine.supernet_step_s(space, batch), machine.forward_s(space, reference(space))
        best = replace(best, step_s=step_s, supernet_step_s=supernet_step_s, forward_s=forward_s)
    settings = {
        "space": {} if own.space else _given(space),
        "data": {"augmentation": recipe, **({"stored_side": stored} if (stored := _stored(seen, space)) else {})},
        "evaluation": {
            "calibration_images": min(seen.train, _by(seen.train, (2_000, 256), (20_000, 512), (None, 2048)))
        },
        "run": {"threads": threads} | ({"precision": "bf16"} if machine.device.type == "cuda" else {}),
        "training": {"batch_size": batch, "lr": 0.05 if batch == 32 else 0.1},
        "stand_alone": {"batch_size": batch, "lr": 0.05 if batch == 32 else 0.1, "weight_decay": 5e-4},
    }
    chosen = {
        "resolution": f"{space.resolution} px (images of {seen.side})",
        "stem": f"stride {space.stem_stride}" + " and pooling" * space.stem_pool,
        "width": f"{space.width(0, REFERENCE_DIGIT)} channels in the first stage of the reference",
        "space": f"{space.count(space.pool_options):.2g} networks, {space.width(0, 1)} channels at most at first",
        "batch": f"{batch} images ({seen.train:,} to train on)",
        "epochs": f"{wanted} wanted",
        "augmentation": recipe + (f"; classes differ by {seen.uneven:.1f} to 1" * (seen.uneven > UNEVEN)),
        "calibration": f"{settings['evaluation']['calibration_images']} images",
        "threads": str(threads),
        "stored side": f"{stored} px" if stored else "not needed",
    }
    return Chosen(settings, best, wanted, decoding * seen.train if stored else 0.0, chosen)


@dataclass(frozen=True)
class OwnSpace:
    """A space, or a resolution, that was given instead of being chosen."""

    space: ResNetSpace | None = None
    resolution: int | None = None


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


def _given(space: ResNetSpace) -> dict[str, Any]:
    """The values that make the space of its preset."""
    values = ((key, getattr(space, key)) for key in _REPLACED if getattr(space, key) != getattr(_PX28, key))
    return {"preset": "px28", **{key: _plain(value) for key, value in values}}


def epochs_within(sizes: Sizes, images: int, budget_s: float) -> float:
    """Epochs of two networks, with a supernet of half as many, within a time."""
    return budget_s / (2 * sizes.network_s(images) + sizes.supernet_s(images) / 2)


_PX28 = SPACES["px28"]
_REPLACED = (
    "base_widths", "ratios", "divisor", "strides", "stem_stride", "stem_pool", "in_channels", "resolution",
    "pool_digits", "depths",
)  # fmt: skip


def _spaces(seen: Seen, bounds: Sequence[Bound], machine: Machine, resolution: int | None) -> Iterator[ResNetSpace]:
    """Spaces whose reference is within the bounds: for each side, the largest first, the three widest, then narrower
    ones for the smallest.
    """
    sides, highs = [resolution] if resolution else _sides(seen), [bound.high for bound in bounds]
    most = _by(seen.train, (5_000, 16), (50_000, 32), (None, 64)) if not bounds else WIDTHS[0]
    found = False
    for least in (12, WIDTHS[-1]):
        narrower: list[ResNetSpace] = []
        for side in sides:
            widths = [width for width in WIDTHS if least <= width <= most]
            spaces = [space_of(seen, side, width) for width in widths]
            within = _first(spaces, lambda space: all(map(operator.le, _costs(space, bounds, machine), highs)))
            yield from spaces[within : within + 3]
            narrower = spaces[within + 3 :] if within < len(spaces) else narrower
            found = found or within < len(spaces)
        yield from narrower
        if found:
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


def space_of(seen: Seen, side: int, width: int) -> ResNetSpace:
    """The space for images of a side, whose first stage has up to `width` channels."""
    assert isinstance(_PX28, ResNetSpace)
    return replace(
        _PX28,
        name="px28 changed",
        base_widths=tuple(width * 2**stage for stage in range(4)),
        ratios=_RATIOS,
        divisor=8,  # other widths are slow, and stems of fewer channels may crash oneDNN
        strides=(1, 1, 2, 2) if side < 20 else (1, 2, 2, 2),
        stem_stride=1 if side <= 40 else 2,
        stem_pool=side >= 160,
        in_channels=seen.channels,
        resolution=side,
        pool_digits=(5, 5, 5, 5),
        depths=((1, 3), (1, 3), (1, 4), (1, 3)),
    )


def _costs(space: ResNetSpace, bounds: Sequence[Bound], machine: Machine) -> list[float]:
    counted, arch = cost_measures(space, num_classes=machine.classes), reference(space)
    return [
        machine.calls_us(space, [arch])[0] if bound.name == "latency" else counted[bound.name].of(space, arch)
        for bound in bounds
    ]


def _out_of_reach(seen: Seen, bounds: Sequence[Bound], machine: Machine) -> str:
    """What the narrowest networks have of the bound that they miss by most, at the side where they miss it least."""
    found = []
    for side in _sides(seen):
        values = _costs(space_of(seen, side, WIDTHS[-1]), bounds, machine)
        pairs = zip(bounds, values, strict=True)
        found.append((side, *max(pairs, key=lambda pair: pair[0].excess(pair[1]))))
    side, bound, value = min(found, key=lambda each: each[1].excess(each[2]))
    return (
        f"no network that fit would plan has {bound}: the narrowest ResNet-18, of {WIDTHS[-1]} channels at {side} px,"
        f" has {shown(bound.name, float(f'{value:.3g}'))}; allow more, or give a space of your own (space.preset=...)"
    )


def _stored(seen: Seen, space: ResNetSpace) -> int | None:
    side = round(1.3 * space.resolution)
    return side if seen.side > side else None


def _by(count: int, *rows: tuple[int | None, int]) -> int:
    return next(value for most, value in rows if most is None or count <= most)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
