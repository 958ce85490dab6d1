"""The beginning of a run of `fit`: a look at the images, the choice of settings, and the plan; nothing long."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.waiting import waiting
from fewshot_nas.config import Config, dump_config, load_config
from fewshot_nas.data.cache import stored_path
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.costs import costs, fixed_s, trainings_s
from fewshot_nas.fitting.look import as_lists, seen
from fewshot_nas.fitting.measure import Machine, machine_facts
from fewshot_nas.fitting.opponents import reference
from fewshot_nas.fitting.plan import plan
from fewshot_nas.fitting.rules import Chosen, choose
from fewshot_nas.fitting.spaces import own_space
from fewshot_nas.fitting.state import Fit
from fewshot_nas.fitting.timings import Timings
from fewshot_nas.models.start import Held, read_held, read_start
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import write_text
from fewshot_nas.running.images import images_of, trained_on
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.cost import Limits, cost_measures, read_bounds
from fewshot_nas.space.pool import changed_settings
from fewshot_nas.space.space import Space
from fewshot_nas.timing.measuring import FITTED, TESTED
from fewshot_nas.timing.programs import distinct_parts

_PARTS = 300  # of a table of latencies, before the space is known


def begun(asked: Asked, begun_s: float) -> Fit:
    """Look at the images, measure, choose and plan; nothing long.

    Args:
        begun_s: when the command began, by `time.monotonic`.

    Raises:
        InputError: images, bounds or budget cannot be used.
    """
    options, files, budget_s = asked.options, asked.files, asked.budget_s
    held = read_held(options.start) if options.start else None
    given = [*(_of_start(options.start, held) if held is not None else ()), *asked.settings]
    if options.data:
        print(f"looking at the images in {options.data} ...", flush=True)
        with waiting("looking at the images"):
            data, said = as_lists(options.data, files.path / "fit" / "images")
        given = [*(f"data.{key}={value}" for key, value in data.items()), *given]
        print(*said, sep="\n", flush=True)
    if options.seed is not None:
        given.append(f"run.seed={options.seed}")
    config = load_config(None, given)
    with joined(options.device, config.run) as world, waiting("still looking and timing"):
        images = images_of(config.data)
        brought = images_of(replace(config.data, evened=0.0)).train if config.data.evened else None
        known, more = seen(images, brought)
        print(*more, sep="\n", flush=True)
        named = {each.partition("=")[0] for each in given}
        threads = config.run.threads if "run.threads" in named else None
        precision = config.run.precision if "run.precision" in named else None
        timings = Timings.of(files.fit_timings, machine_facts(world.device))
        if timings.known:
            print(f"what was measured {timings.at} counts again: {files.fit_timings}")
        timings.look()
        machine = Machine(world.device, known.classes, threads, precision, timings)
        bounds = read_bounds([], options.max)
        own = own_space(config, given, known)
        if isinstance(held, dict):
            own = replace(own, stem_kernel=_stem_kernel(held))
        timed = any(bound.name == "latency" for bound in bounds)  # else the table of latencies would serve nothing
        fixed = fixed_s(_PARTS if timed else 0, timings.slowed)
        usable_s = trainings_s(budget_s, time.monotonic() - begun_s, fixed)
        print("timing training steps of the spaces that may serve ...", flush=True)
        chosen = choose(known, images.train, images.recipe, bounds, usable_s, machine, own)
        space = chosen.sizes.space
        limits = list(options.max) or [_usual_bound(chosen, known.classes)]
        counted = [each for each in read_bounds([], limits) if each.name != "latency"]
        feasible_arch(Limits(space, counted, cost_measures(space, num_classes=known.classes)), space.pool_options)
        if options.start:
            print(_start_said(options.start, space, images))
        epochs, supernet = (
            getattr(config, section).epochs if f"{section}.epochs" in named else None
            for section in ("stand_alone", "training")
        )
        parts = len(distinct_parts(space, space.pool_options)) + FITTED + TESTED if timed else 0
        cost = costs(known, chosen, parts, timings.slowed, epochs, supernet)
        made = plan(cost, budget_s, time.monotonic() - begun_s)
    settings = _settings(chosen, files.path / "pool", made.epochs, made.supernet_epochs, given)
    config = load_config(None, settings)
    _refuse_full(files.path, config, images, chosen)
    write_text(files.fit_settings, dump_config(config))
    running = Fit(options.save, options.device, {}, begun_s)
    running.note(
        asked=asked.words, int8=options.int8, seen=asdict(known),
        rules={**chosen.why, "machine": timings.said}, plan=made.record(),
        costs=asdict(cost), bounds=limits, done=[], decided=[], took_s={}, codes={}, budget_s=budget_s,
        pool=min(1000, space.count(space.pool_options)),
    )  # fmt: skip
    return running


def _of_start(path: Path, held: Held) -> list[str]:
    """The settings that begin with a file's weights; its space is the file's, if that says one."""
    space = held[1] if isinstance(held, tuple) else held.space if isinstance(held, Supernet) else None
    starts = [f"{section}.start={path.absolute()}" for section in ("training", "stand_alone")]
    return [*(changed_settings(space) if space else ()), *starts]


def _stem_kernel(state: Mapping[str, Any]) -> int:
    """The side of the stem's kernels in a ResNet's state dict; 3 if it has none that a space can have."""
    shape: Sequence[int] = getattr(state.get("conv1.weight"), "shape", ())
    return int(shape[3]) if len(shape) == 4 and shape[2] == shape[3] and shape[3] % 2 else 3


def _start_said(path: Path, space: Space, images: ImageData) -> str:
    """What will become of the weights of a file."""
    start = read_start(path, space, trained_on(images))
    if (groups := start.supernet.split.groups) > 1:
        raise InputError(f"{path}: a supernet with {groups} groups, expected 1")
    return start.said


def _settings(chosen: Chosen, pool: Path, epochs: int, supernet_epochs: int, given: Sequence[str]) -> list[str]:
    """All settings as overrides, those that were given last, so that they count."""
    by_rule = [f"{section}.{key}={value}" for section, keys in chosen.settings.items() for key, value in keys.items()]
    return [
        *by_rule,
        f"run.pool={pool}",
        f"training.epochs={supernet_epochs}",
        f"stand_alone.epochs={epochs}",
        *given,
    ]


def _usual_bound(chosen: Chosen, classes: int) -> str:
    """The reference's multiply-adds, where no bound is given."""
    space = chosen.sizes.space
    return f"macs={cost_measures(space, num_classes=classes)['macs'].of(space, reference(space)):.0f}"


def _refuse_full(top: Path, config: Config, images: ImageData, chosen: Chosen) -> None:
    """Refuse a disk that has no room for what will be written; both places may be on one."""
    params = chosen.sizes.space.cost(chosen.sizes.space.largest, num_classes=images.num_classes).params
    written = {top: 4 * params * 16 + 50_000_000, config.data.cache: _cached(config, images, chosen)}
    for path in written:
        disk = _existing(path).stat().st_dev
        needed = sum(size for other, size in written.items() if _existing(other).stat().st_dev == disk)
        if (free := shutil.disk_usage(_existing(path)).free) < needed:
            raise InputError(
                f"{path.absolute()}: its disk has {free / 1e6:,.0f} MB free, but fit will write about"
                f" {needed / 1e6:,.0f} MB there; free some, or name another place for decoded images (data.cache=DIR)"
            )


def _existing(path: Path) -> Path:
    """A path, or the nearest directory above that is there."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _cached(config: Config, images: ImageData, chosen: Chosen) -> float:
    """Bytes of decoded images that are not in the cache yet."""
    train, side, directory = images.train, config.data.stored_side, config.data.cache
    if not isinstance(train, FileImages):
        return 0
    count = len(images.valid) + len(images.test) + config.evaluation.calibration_images
    cut = 3 * count * chosen.sizes.space.resolution**2
    return cut + (4 * len(train) * side**2 if side and not stored_path(train, side, directory).exists() else 0)
