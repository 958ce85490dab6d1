"""The beginning of a run of `fit`: a look at the images, the choice of settings, and the plan; nothing long."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.waiting import waiting
from fewshot_nas.config import Config, dump_config, load_config
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.costs import costs, fixed_s, trainings_s
from fewshot_nas.fitting.look import as_lists, seen
from fewshot_nas.fitting.measure import Machine, machine_facts
from fewshot_nas.fitting.plan import plan
from fewshot_nas.fitting.rules import Chosen, choose
from fewshot_nas.fitting.spaces import own_space, reference
from fewshot_nas.fitting.state import Fit
from fewshot_nas.fitting.timings import Timings
from fewshot_nas.models.start import read_held, read_start
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
    given = [*(_of_start(options.start) if options.start else ()), *asked.settings]
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


def _of_start(path: Path) -> list[str]:
    """The settings that begin with a file's weights; its space is the file's, if that says one."""
    held = read_held(path)
    space = held[1] if isinstance(held, tuple) else held.space if isinstance(held, Supernet) else None
    starts = [f"{section}.start={json.dumps(str(path.absolute()))}" for section in ("training", "stand_alone")]
    return [*(changed_settings(space) if space else ()), *starts]


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


def _refuse_full(top: Path, config: Config, images: Any, chosen: Chosen) -> None:
    """Refuse a disk that has no room for what will be written."""
    side, space = config.data.stored_side, chosen.sizes.space
    pixels = len(images.valid) + len(images.test) + config.evaluation.calibration_images
    cached = 3 * pixels * space.resolution**2 + (4 * len(images.train) * side**2 if side else 0)
    params = space.cost(space.largest, num_classes=images.num_classes).params
    written = {top: 4 * params * 16 + 50_000_000}
    if isinstance(images.train, FileImages):
        written[config.data.cache] = cached
    for path, needed in written.items():
        there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
        if (free := shutil.disk_usage(there).free) < needed:
            raise InputError(f"{there}: has {free / 1e6:,.0f} MB free, but fit will write about {needed / 1e6:,.0f} MB")
