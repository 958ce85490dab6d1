"""The rules by which the settings of a run follow from its images, its bounds, its time and this machine.

Each rule is one line of `TABLE`, which is printed with what it has chosen; docs/fit.md has the gist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import Images
from fewshot_nas.fitting.look import UNEVEN, Seen
from fewshot_nas.fitting.measure import Machine, decoding_s, preparing_s
from fewshot_nas.fitting.opponents import REFERENCE_DIGIT, reference
from fewshot_nas.fitting.spaces import (
    PHOTO_SIDE,
    OwnSpace,
    bitten,
    by_count,
    costs,
    given_as,
    out_of_reach,
    spaces_within,
)
from fewshot_nas.fitting.timings import threads_of
from fewshot_nas.space.cost import Bound
from fewshot_nas.space.resnet import ResNetSpace

TABLE: Mapping[str, str] = MappingProxyType(
    {
        "resolution": "images under 64 px: their side; others: the largest of 32, 48, 64, 96, 128, 160, 192, 224 px"
        " that is not above their side, at which the bound leaves width 12 and the budget half of the epochs wanted",
        "stem": "stride 1 up to 40 px, else 2; from 160 px on with pooling; kernels of 3 px, with stride 2 those of a"
        " ResNet to begin with",
        "width": "the widest ResNet-18 within the bound; without a bound 16 up to 5,000 images, 32 up to 50,000, else"
        " 64; narrower where the budget leaves too few epochs",
        "space": "ResNets of 4 stages, 1 to 3 blocks each (the third 1 to 4), 5 widths, with that ResNet-18 among them",
        "batch": "32 up to 2,000 images, 64 up to 20,000, else 128; learning rate 0.05, 0.1, 0.1",
        "epochs": "wanted are 200 up to 1,000 images, 100 up to 10,000, 60 up to 100,000, else 30; given is what the"
        " budget allows, the same for every network; the supernet gets up to half of them",
        "augmentation": "from 64 px on as photographs; smaller: shifted, and mirrored if they have colour",
        "calibration": "256 images up to 2,000, 512 up to 20,000, else 2,048",
        "threads": "all cores, where a step is 1.3 times as fast as with one",
        "precision": "bf16 on GPUs, and on processors where a step is 1.3 times as fast with it; else fp32",
        "stored side": "photographs are kept decoded, with 1.3 times the resolution as their shorter side",
    }
)
FEWEST_EPOCHS, FEWEST_STEPS = 8, 100


@dataclass(frozen=True)
class Sizes:
    """A space that can be chosen, with what its training costs where nothing else runs.

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
        once_s: for decoding photographs once.
        why: a line for each rule, with what it has chosen.
    """

    settings: Mapping[str, Mapping[str, Any]]
    sizes: Sizes
    wanted: int
    once_s: float
    why: Mapping[str, str]


def wanted_epochs(images: int) -> int:
    """Of one network that is trained well."""
    return by_count(images, (1_000, 200), (10_000, 100), (100_000, 60), (None, 30))


def choose(
    seen: Seen,
    images: Images,
    recipe: str,
    bounds: Sequence[Bound],
    budget_s: float,
    machine: Machine,
    own: OwnSpace,
) -> Chosen:
    """The settings.

    Args:
        images: to train on.
        recipe: the augmentation that their source proposes.
        budget_s: the seconds that trainings may take; beside other processes they compute for less.
        own: what was given of the space.

    Raises:
        InputError: no network is within a bound.
    """
    recipe = recipe if recipe == "photo" or seen.side >= PHOTO_SIDE else ("shift" if seen.grey else "shift_flip")
    batch, wanted = by_count(seen.train, (2_000, 32), (20_000, 64), (None, 128)), wanted_epochs(seen.train)
    decoding, tried = decoding_s(images, machine.timings), list[Sizes]()
    first, skipped = None, list[ResNetSpace]()

    def alone_s() -> float:
        return budget_s / machine.slowed

    # Spaces come from large to small ones. Each is timed, until one can be trained for half of the wanted epochs.
    for space in [own.space] if own.space else spaces_within(seen, bounds, machine, own):
        first = first or space
        # Timing takes seconds: a space is left out whose multiply-adds say already that it is too slow.
        if tried and _hopeless(space, tried[-1], machine, seen.train, 2 * alone_s() / wanted):
            skipped.append(space)
            continue
        tried.append(_sizes(seen, images, recipe, space, batch, machine))
        if epochs_within(tried[-1], seen.train, alone_s()) >= wanted / 2:
            break
    else:
        if first is None:
            raise InputError(out_of_reach(seen, bounds, machine, own))
        if skipped:  # none was fast enough, so the fastest of those left out is timed after all
            fastest = min(skipped, key=lambda space: _macs(space, machine))
            tried.append(_sizes(seen, images, recipe, fastest, batch, machine))
    # Beyond half of the wanted epochs more of them count nothing; of equal ones, the first has the largest images.
    best = max(tried, key=lambda each: min(epochs_within(each, seen.train, alone_s()), wanted / 2))
    space = best.space
    # Precision and speed are measured again, with the number of threads that the trainings will have.
    threads = machine.threads(space, reference(space), batch)
    with threads_of(threads):
        precision, step_s = machine.faster_step(space, reference(space), batch)
        machine = replace(machine, precision=precision)
        supernet_step_s, forward_s = machine.supernet_step_s(space, batch), machine.forward_s(space, reference(space))
        best = replace(best, step_s=step_s, supernet_step_s=supernet_step_s, forward_s=forward_s)
    settings = {
        "space": {} if own.space else given_as(space),
        "data": {"augmentation": recipe, **({"stored_side": stored} if (stored := _stored(seen, space)) else {})},
        "evaluation": {
            "calibration_images": min(seen.train, by_count(seen.train, (2_000, 256), (20_000, 512), (None, 2048)))
        },
        "run": {"threads": threads, "precision": precision},
        "training": {"batch_size": batch, "lr": 0.05 if batch == 32 else 0.1},
        "stand_alone": {"batch_size": batch, "lr": 0.05 if batch == 32 else 0.1, "weight_decay": 5e-4},
    }
    chosen = {
        "resolution": f"{space.resolution} px (images of {seen.side})",
        "stem": f"kernels of {space.stem_kernel} px, stride {space.stem_stride}" + " and pooling" * space.stem_pool,
        "width": f"{space.width(0, REFERENCE_DIGIT)} channels in the first stage of the reference"
        + bitten(space, first or space, bounds, machine),
        "space": f"{space.count(space.pool_options):.2g} networks",
        "batch": f"{batch} images ({seen.train:,} to train on)",
        "epochs": f"{wanted} wanted",
        "augmentation": recipe + (f"; classes differ by {seen.uneven:.1f} to 1" * (seen.uneven > UNEVEN)),
        "calibration": f"{settings['evaluation']['calibration_images']} images",
        "threads": str(threads),
        "precision": precision,
        "stored side": f"photographs are kept with a shorter side of {stored} px" if stored else "not needed",
    }
    decoded_once = seen.valid + seen.test + (seen.train if stored else 0)
    return Chosen(settings, best, wanted, decoding * decoded_once, chosen)


def _sizes(seen: Seen, images: Images, recipe: str, space: ResNetSpace, batch: int, machine: Machine) -> Sizes:
    """A space with what its training costs, measured."""
    side = _stored(seen, space)
    prepare_s = preparing_s(images, recipe, space.resolution, side, machine.timings)
    if not side:  # else each is decoded once
        prepare_s += decoding_s(images, machine.timings) / machine.slowed
    return Sizes(space, batch, machine.step_s(space, reference(space), batch), prepare_s)


def _hopeless(space: ResNetSpace, known: Sizes, machine: Machine, images: int, epoch_s: float) -> bool:
    """Whether a space is too slow for epochs of a length by its multiply-adds, so that it need not be measured.

    The known one is too slow: a smaller network does not do more multiply-adds a second, and a larger one does more.
    """
    step_s = known.step_s * _macs(space, machine) / _macs(known.space, machine)
    return epochs_within(Sizes(space, known.batch, step_s, 0.0), images, epoch_s) < 1


def _macs(space: ResNetSpace, machine: Machine) -> float:
    return costs(space, reference(space), [Bound("macs")], machine)[0]


def epochs_within(sizes: Sizes, images: int, budget_s: float) -> float:
    """Epochs of two networks, with a supernet of half as many, within a time."""
    return budget_s / (2 * sizes.network_s(images) + sizes.supernet_s(images) / 2)


def _stored(seen: Seen, space: ResNetSpace) -> int | None:
    side = round(1.3 * space.resolution)
    return side if seen.side > side else None
