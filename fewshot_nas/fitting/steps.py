"""The run of `fit`: look, rules, plan, then one step after the other, each of them a command that a person can give.

`fit.json` holds what was decided and which steps are done, and is written whole before and after each step. So the
same command goes on after a kill and takes the same decisions; a step that was interrupted goes on by itself.
"""

import argparse
import importlib
import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.pace import duration
from fewshot_nas.cli.yaml_text import read_yaml
from fewshot_nas.config import Config, dump_config, load_config
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.answer import answered
from fewshot_nas.fitting.look import as_lists, seen
from fewshot_nas.fitting.measure import Machine, busy
from fewshot_nas.fitting.opponents import opponents
from fewshot_nas.fitting.plan import (
    NETWORKS,
    STEPS,
    Costs,
    Plan,
    costs,
    fixed_s,
    in_time,
    left_s,
    plan,
    plan_lines,
    read_budget,
    trained,
    trainings_s,
    without,
)
from fewshot_nas.fitting.rules import Chosen, choose, own_space, reference
from fewshot_nas.models.export import check_formats
from fewshot_nas.models.start import read_held, read_start
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.comparing import refuse_difference
from fewshot_nas.records.files import locked, read_json, write_json, write_text
from fewshot_nas.results.directories import NetworkDirectory, RunFiles
from fewshot_nas.results.run import latency_tables, run_directory, run_files, stand_alone_directory
from fewshot_nas.running.images import images_of, trained_on
from fewshot_nas.searching.bounds import Limits, read_bounds
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.cost import cost_measures
from fewshot_nas.space.pool import changed_settings, id_beside
from fewshot_nas.space.space import Space
from fewshot_nas.timing.measuring import FITTED, JUDGED
from fewshot_nas.timing.programs import distinct_parts
from fewshot_nas.timing.table import read_table

NAME = "fit"  # of the search
_PARTS = 300  # of a table of latencies, before the space is known
_STAGE = "1"


@dataclass(frozen=True)
class Fit:
    """A run of `fit`.

    Attributes:
        state: what `fit.json` holds.
        since_s: when it began, by `time.monotonic`, less what it had spent before.
    """

    save: str
    device: str | None
    state: dict[str, Any]
    since_s: float

    @property
    def files(self) -> RunFiles:
        """Of the run."""
        return run_files(self.save)

    @property
    def config(self) -> Config:
        """The settings that the rules have chosen."""
        return load_config(self.files.fit_settings)

    @property
    def plan(self) -> Plan:
        """As it is now."""
        return Plan(**self.state["plan"])

    @property
    def bounds(self) -> list[str]:
        """As `search` takes them."""
        return list(self.state["bounds"])

    def note(self, **changes: Any) -> None:
        """Change the state, and write it."""
        self.state.update(changes, spent_s=round(time.monotonic() - self.since_s, 1))
        write_json(self.files.fit, self.state)

    def network(self, name: str) -> NetworkDirectory:
        """Where a network is trained."""
        arch_id = NAME if name == "found" else id_beside(self.state["codes"][name])
        return stand_alone_directory(self.save, arch_id, self.config.run.seed)

    def limits(self) -> Limits:
        """The bounds, with all measures that are known."""
        config = self.config
        space = config.space.build()
        measures = cost_measures(space, num_classes=self.state["seen"]["classes"])
        if tables := latency_tables(self.save):
            measures["latency"] = read_table(tables[0]).measure
        return Limits(space, read_bounds([], self.bounds), measures)

    def words(self, name: str) -> list[str]:
        """The command line of a step."""
        run, planned, settings = f"--save={self.save}", self.state["plan"], f"--config={self.files.fit_settings}"
        most = [f"--max={bound}" for bound in self.bounds]
        epochs = f"stand_alone.epochs={planned['epochs']}"
        device = [f"--device={self.device}"] if self.device else []
        pool = self.config.run.pool
        scored = f"0_sample{planned['sample']}"
        images = f"--images={planned['images']}"
        lines = {
            "pool": ["make_pool", settings, f"--size={self.state['pool']}", "--parts=1", f"--out={pool}"],
            "latency": ["latency", run, settings, "--rounds=5", *device],
            "supernet": ["train_supernet", run, settings, *device],
            "scores": ["test", run, "--epoch=0", f"--sample={planned['sample']}", images, *device],
            "merge": ["merge", run, f"--stage={_STAGE}", f"--epoch={scored}", "--top=prob"],
            "ranker": ["rank", run, "--top=prob"],
            "search": [
                "search", run, *most, "--top=prob", f"--budget={planned['search']}", images, f"--name={NAME}", *device,
                f"--by={'supernet' if 'ranker' in planned['left_out'] else 'ranker'}",
            ],
            "found": ["train_stand_alone", run, f"--from_search={self.found}", epochs, *device],
            "export": [
                "export", f"--model={self._winner}", f"--out={run_directory(self.save) / 'fit' / self._stem}.pt2",
                "--onnx", "--with-preprocessing", *["--int8"] * self.state["asked"]["int8"], *device,
            ],
            "report": ["report", run, "--top=prob"],
        }  # fmt: skip
        if name in NETWORKS[1:]:
            return ["train_stand_alone", run, f"--target_arch_num={self.state['codes'][name]}", epochs, *device]
        return lines[name]

    @property
    def found(self) -> Path:
        """What the search has found."""
        return run_directory(self.save) / "searches" / NAME / "found.json"

    @property
    def _stem(self) -> str:
        return run_directory(self.save).name

    @property
    def _winner(self) -> str:
        return (
            str(read_json(self.files.answer)["networks"][self.state["winner"]]["model"])
            if "winner" in self.state
            else ""
        )


def fit(options: argparse.Namespace, begun_s: float) -> None:
    """Look, plan, and carry the plan out, from where an earlier run was stopped.

    Args:
        begun_s: when the command began, by `time.monotonic`.

    Raises:
        InputError: images, bounds or budget cannot be used, or the run was begun with others.
    """
    if launcher.place().size > 1:
        raise InputError("fit is started once, not by torchrun; give the machine's device with --device")
    files, budget_s = run_files(options.save), read_budget(options.budget)
    asked = {
        "data": str(options.data.absolute()) if options.data else None,
        "config": options.config.read_text(encoding="utf-8") if options.config else None,
        "max": options.max,
        "budget_s": budget_s,
        "seed": options.seed,
        "start": str(options.start.absolute()) if options.start else None,
        "int8": options.int8,
        "settings": options.overrides,
    }
    read_bounds([], options.max)
    check_formats(Path("network.pt2"), onnx=not options.plan)  # what the last step needs
    with locked(files.fit_lock, wait=False):
        state = read_json(files.fit) if files.fit.exists() else {}
        if state.get("done") or (state and state["asked"] == asked):
            remedy = "give the same again to go on, or choose another --save"
            refuse_difference(f"{files.path} was begun with", state["asked"], asked, remedy)
            lost_s = _interrupted_s(files)
            running = Fit(options.save, options.device, state, begun_s - state["spent_s"] - lost_s)
            running.note(interrupted_s=state.get("interrupted_s", 0.0) + lost_s)
            print(
                f"run {files.path} (continued: {len(state['done'])} of {len(state['plan']['seconds'])} steps are done)"
            )
        else:
            running = _begun(options, asked, budget_s, begun_s)
        print(*plan_lines_of(running), sep="\n", flush=True)
        if not options.plan:
            _walk(running)


def plan_lines_of(running: Fit) -> list[str]:
    """The rules with what they chose, and the plan."""
    state = running.state
    rules = [f"  {name:13} {chosen}" for name, chosen in state["rules"].items()]
    planned = plan_lines(running.plan, state["spent_s"])
    return [f"settings, by the rules of docs/fit.md: {running.files.fit_settings}", *rules, "the plan:", *planned]


def _interrupted_s(files: RunFiles) -> float:
    """How long a step ran that was interrupted: to the last line that its command has said."""
    said = files.fit_log.stat().st_mtime if files.fit_log.exists() else 0.0
    return max(0.0, said - files.fit.stat().st_mtime)


def _begun(options: argparse.Namespace, asked: Mapping[str, Any], budget_s: float, begun_s: float) -> Fit:
    """Look at the images, measure, choose and plan; nothing long."""
    files, clocks = run_files(options.save), (time.monotonic(), time.process_time())
    given = [*(_of_start(options.start) if options.start else ()), *_flat(options.config), *options.overrides]
    if options.data:
        data, said = as_lists(options.data, files.path / "fit" / "images")
        given = [*(f"data.{key}={value}" for key, value in data.items()), *given]
    elif not any(each.startswith("data.") for each in given):
        raise InputError("nothing names the images; give --data DIR, or data.name in --config FILE")
    else:
        said = []
    if options.seed is not None:
        given.append(f"run.seed={options.seed}")
    config = load_config(None, given)
    print(*said, sep="\n", flush=True)
    with joined(options.device, config.run) as world:
        images = images_of(config.data)
        known, more = seen(images)
        print(*more, sep="\n", flush=True)
        threads = config.run.threads if any(each.startswith("run.threads=") for each in given) else None
        machine = Machine(world.device, known.classes, threads)
        bounds = read_bounds([], options.max)
        own = own_space(config, given, known)
        usable_s = trainings_s(budget_s, time.monotonic() - begun_s, fixed_s(_PARTS, busy(*clocks)))
        chosen = choose(known, images.train, images.recipe, bounds, usable_s, machine, own)
        space = chosen.sizes.space
        limits = list(options.max) or [_usual_bound(chosen, known.classes)]
        counted = [each for each in read_bounds([], limits) if each.name != "latency"]
        feasible_arch(Limits(space, counted, cost_measures(space, num_classes=known.classes)), space.pool_options)
        if options.start:
            print(_start_said(options.start, space, images))
        epochs, supernet = (
            getattr(config, section).epochs if any(each.startswith(f"{section}.epochs=") for each in given) else None
            for section in ("stand_alone", "training")
        )
        parts = len(distinct_parts(space, space.pool_options)) + FITTED + JUDGED
        cost = costs(known, chosen, parts, busy(*clocks), epochs, supernet)
        made = plan(cost, budget_s, time.monotonic() - begun_s)
    settings = _settings(chosen, files.path / "pool", made.epochs, made.supernet_epochs, given)
    config = load_config(None, settings)
    _refuse_full(files.path, config, images, chosen)
    write_text(files.fit_settings, dump_config(config))
    running = Fit(options.save, options.device, {}, begun_s)
    running.note(
        asked=dict(asked), seen=asdict(known), rules=dict(chosen.why), plan=made.record(), costs=asdict(cost),
        bounds=limits, done=[], decided=[], took_s={}, codes={}, budget_s=budget_s,
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
    """What will become of the weights of a file.

    Raises:
        InputError: they do not fit.
    """
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


def _flat(path: Path | None) -> list[str]:
    """The settings of a file as overrides."""
    if path is None:
        return []
    load_config(path)  # refuses mistakes with the file's name
    content = read_yaml(path.read_text(encoding="utf-8"), str(path))
    given = ((f"{section}.{key}", value) for section, keys in content.items() for key, value in keys.items())
    return [f"{key}={'null' if value is None else value}" for key, value in given]


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


def _walk(running: Fit) -> None:
    """Carry out the steps that are left."""
    state = running.state
    for name in STEPS:
        if name in state["done"] or name not in state["plan"]["seconds"]:
            continue
        if name not in state["decided"]:
            _decide(running, name)
        if name not in (planned := state["plan"]["seconds"]):
            continue
        began = time.monotonic()
        line = "" if name == "answer" else f": fewshot-nas {shlex.join(running.words(name))}"
        number = f"[{list(planned).index(name) + 1}/{len(planned)}]"
        print(f"{number} {STEPS[name]} (about {duration(planned[name])}){line}", flush=True)
        _carry_out(running, name)
        seconds = state.pop("interrupted_s", 0.0) + time.monotonic() - began
        running.note(done=[*state["done"], name], took_s={**state["took_s"], name: round(seconds, 1)})
        left = left_s(running.plan, state["done"]) * _slower(running)
        print(f"      took {duration(seconds)}" + (f"; about {duration(left)} left" if left else ""), flush=True)
    answer = read_json(running.files.answer)
    print(answer["sentence"])
    print(f"files: {run_directory(running.save) / 'fit'}; report: {running.files.report}")


def _carry_out(running: Fit, name: str) -> None:
    if name == "answer":
        config = running.config
        names = [each for each in NETWORKS if each in running.state["done"]]
        with joined(running.device, config.run) as world:
            networks = {each: running.network(each) for each in names}
            found = answered(config, running.state["seen"]["uneven"], world, networks, running.files.guesses)
        found |= {"bounds": running.bounds, "left_out": running.state["plan"]["left_out"]}
        write_json(running.files.answer, found)
        running.note(winner=found["winner"])
        return
    command, *words = running.words(name)
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"fewshot_nas.{command}").main
    running.files.fit_log.parent.mkdir(parents=True, exist_ok=True)
    with running.files.fit_log.open("a", encoding="utf-8") as log, redirect_stdout(log):
        print(f"$ fewshot-nas {shlex.join([command, *words])}", flush=True)
        main(words)


def _slower(running: Fit) -> float:
    """How many times as long as planned the last long step took; 1 if it was faster, or there was none."""
    took, planned = running.state["took_s"], running.plan.seconds
    known = [name for name in ("supernet", "scores", *NETWORKS) if name in took]
    return max([1.0, *(float(took[name] / planned[name]) for name in known[-1:])])


def _decide(running: Fit, name: str) -> None:
    """What has to be known before a step, once: bounds that can be met, opponents; and what is left out to be in time.

    A decision is noted before the step begins, so that it is the same after a kill.
    """
    state, made = running.state, running.plan
    if name == "supernet":
        limits = running.limits()
        feasible_arch(limits, limits.space.pool_options)
    spent_s, slower = time.monotonic() - running.since_s, _slower(running)
    if name == "found":
        made, slower = _measured(running, made), 1.0
    made = in_time(made, state["done"], state["budget_s"], spent_s, slower)
    for each, why in made.left_out.items():
        if each not in state["plan"]["left_out"]:
            print(f"left out: {STEPS[each]}: {why}", flush=True)
    if made.epochs != state["plan"]["epochs"]:
        print(f"{made.epochs} epochs of each network, not {state['plan']['epochs']}: so the time allows", flush=True)
    running.note(plan=made.record(), decided=[*state["decided"], name])


def _measured(running: Fit, made: Plan) -> Plan:
    """The plan with the opponents of what was found, and the epochs that the time allows, as these networks train."""
    state, config, limits = running.state, running.config, running.limits()
    found = read_json(running.found)
    codes = opponents(limits, found, config.run.seed)
    if "random" not in codes:
        made = without(made, ("random",), "no other network is within the bounds")
    named = {"found": found["archs"][0]["code"], **codes}
    known = Costs(**state["costs"])
    with joined(running.device, config.run) as world:
        machine = Machine(world.device, state["seen"]["classes"])
        batch = config.stand_alone.batch_size
        step_s = {each: machine.step_s(limits.space, limits.space.decode(code), batch) for each, code in named.items()}
    running.note(codes=codes)
    others = left_s(made, [*state["done"], *NETWORKS]) + known.opening_s * len(NETWORKS)
    return trained(
        made, known, step_s, trainings_s(state["budget_s"], time.monotonic() - running.since_s, {"": others})
    )
