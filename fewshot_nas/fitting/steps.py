"""The run of `fit`: look, rules, plan, then one step after the other, each of them a command that a person can give.

`fit.json` holds what was decided and which steps are done, and is written whole before and after each step. So the
same command goes on after a kill and takes the same decisions; a step that was interrupted goes on by itself.
"""

import importlib
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from fewshot_nas.cli.pace import duration
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.answer import answered
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.begin import begun
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.opponents import opponents
from fewshot_nas.fitting.plan import (
    NETWORKS,
    STEPS,
    Costs,
    Plan,
    in_time,
    left_s,
    plan_lines,
    trained,
    trainings_s,
    without,
)
from fewshot_nas.fitting.rules import reference
from fewshot_nas.fitting.state import Fit
from fewshot_nas.models.export import check_formats
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import RunFiles
from fewshot_nas.results.run import run_directory
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.resnet import ResNetSpace


def fit(asked: Asked, state: dict[str, Any] | None, begun_s: float) -> None:
    """Look, plan, and carry the plan out, from where an earlier run was stopped.

    Args:
        state: of the run that the same command has begun.
        begun_s: when the command began, by `time.monotonic`.

    Raises:
        InputError: images, bounds or budget cannot be used.
    """
    options, files = asked.options, asked.files
    check_formats(Path("network.pt2"), onnx=not options.plan)  # what the last step needs
    if state is not None:
        lost_s = _interrupted_s(files)
        running = Fit(options.save, options.device, state, begun_s - state["spent_s"] - lost_s)
        running.note(interrupted_s=state.get("interrupted_s", 0.0) + lost_s)
        print(f"run {files.path} (continued: {len(state['done'])} of {len(state['plan']['seconds'])} steps are done)")
    else:
        running = begun(asked, begun_s)
    print(*plan_lines_of(running), sep="\n", flush=True)
    if not options.plan:
        _walk(running)


def plan_lines_of(running: Fit) -> list[str]:
    """The rules with what they chose, and the plan."""
    state = running.state
    rules = [f"  {name:13} {chosen}" for name, chosen in state["rules"].items()]
    planned = plan_lines(running.plan, state["spent_s"] + left_s(running.plan, state["done"]))
    return [f"settings, by the rules of docs/fit.md: {running.files.fit_settings}", *rules, "the plan:", *planned]


def _interrupted_s(files: RunFiles) -> float:
    """How long a step ran that was interrupted: to the last line that its command has said."""
    said = files.fit_log.stat().st_mtime if files.fit_log.exists() else 0.0
    return max(0.0, said - files.fit.stat().st_mtime)


def _walk(running: Fit) -> None:
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
    space = limits.space
    assert isinstance(space, ResNetSpace)
    with joined(running.device, config.run) as world:
        machine, batch = Machine(world.device, state["seen"]["classes"]), config.stand_alone.batch_size
        step_s = {each: machine.step_s(space, space.decode(code), batch) for each, code in named.items()}
        # A moment may be quieter than the time to come, so the pace counts that the supernet had, if it was slower.
        usual_s = known.step_s * state["took_s"]["supernet"] / made.seconds["supernet"]
        slower = max(1.0, usual_s / machine.step_s(space, reference(space), batch))
    step_s = {each: slower * seconds for each, seconds in step_s.items()}
    running.note(codes=codes)
    others = left_s(made, [*state["done"], *NETWORKS]) + known.opening_s * len(NETWORKS)
    return trained(
        made, known, step_s, trainings_s(state["budget_s"], time.monotonic() - running.since_s, {"": others})
    )
