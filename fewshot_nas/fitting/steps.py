"""The run of `fit`: look, rules, plan, then one step after the other, each of them a command that a person can give.

`fit.json` holds what was decided and which steps are done, and is written whole before and after each step. So the
same command goes on after a kill and takes the same decisions; a step that was interrupted goes on by itself.
"""

import importlib
import io
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from fewshot_nas.cli.main import Report, duration
from fewshot_nas.cli.names import command_line
from fewshot_nas.cli.waiting import waiting
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.answer import answered, unlearned
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.begin import begun
from fewshot_nas.fitting.changes import (
    ALONE,
    extended,
    in_time,
    lateness,
    left_s,
    networks_s,
    nothing_learned,
    slower,
    timed,
)
from fewshot_nas.fitting.measure import Machine
from fewshot_nas.fitting.plan import (
    NETWORKS,
    STEPS,
    Costs,
    Plan,
    few_epochs,
    omissions,
    plan_lines,
    sensible_s,
    without,
)
from fewshot_nas.fitting.spaces import opponents, reference, widest
from fewshot_nas.fitting.state import Fit
from fewshot_nas.models.export import check_formats
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.directories import RunFiles
from fewshot_nas.results.run import ONE_SHOT, phase_directory
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
    if state is None:
        running = begun(asked, begun_s)
    else:
        lost_s = _interrupted_s(files)
        running = Fit(options.save, options.device, state, begun_s - state["spent_s"] - lost_s)
        longer = asked.budget_s > state["budget_s"]
        if longer:
            print(_longer(running, asked), flush=True)
        if len(state["done"]) < len(state["plan"]["seconds"]):
            if not (longer and options.plan):
                running.note(interrupted_s=state.get("interrupted_s", 0.0) + lost_s)
            print(continued(running))
    if state is None or options.plan:
        print(*whole_plan(running), sep="\n", flush=True)
    if not options.plan:
        _walk(running)
        _end(running)


def _longer(running: Fit, asked: Asked) -> str:
    """Plan with a longer budget, and say what it changes; what is done stays."""
    state, made, known = running.state, running.plan, Costs(**running.state["costs"])
    done, decided, before_s = state["done"], state["decided"], state["spent_s"] - sum(state["took_s"].values())
    new = extended(made, known, {*done, *decided}, asked.budget_s, max(0.0, before_s))
    back = [name for name in new.seconds if name not in made.seconds]
    more = f"the budget is {duration(asked.budget_s)} now, not {duration(state['budget_s'])}"
    if len(done) == len(made.seconds) and not back:
        few = "".join(f", {each}" for each in few_epochs(made, known))
        return f"{more}; that changes nothing, because all is done{few}; to train longer, give another --save"
    again = {*back, "answer", "export", "report"}
    state.update(
        plan=new.record(),
        budget_s=asked.budget_s,
        asked=asked.words,
        done=[name for name in done if name not in again],
        decided=[name for name in decided if name not in again],
        took_s={name: seconds for name, seconds in state["took_s"].items() if name not in again},
    )
    added = f"; no longer left out: {', '.join(STEPS[name] for name in back)}" if back else ""
    return "\n".join([f"{more}{added}", *omissions(new.left_out)])


def _interrupted_s(files: RunFiles) -> float:
    """How long a step ran that was interrupted: to the last line that its command has said."""
    said = files.fit_log.stat().st_mtime if files.fit_log.exists() else 0.0
    return max(0.0, said - files.fit.stat().st_mtime)


def _walk(running: Fit) -> None:
    state = running.state
    if not state["done"]:
        print(f"what the commands say: {running.files.fit_log}")
    for name in STEPS:
        if name in state["done"] or name not in state["plan"]["seconds"]:
            continue
        if name not in state["decided"]:
            _decide(running, name)
        if name not in (planned := state["plan"]["seconds"]):
            continue
        began, number = time.monotonic(), f"{list(planned).index(name) + 1}"
        about_s = planned[name] * state["slower"]
        line = "" if name == "answer" else f": python -m fewshot_nas.{shlex.join(running.words(name))}"
        print(f"[{number}/{len(planned)}] {STEPS[name]} (about {duration(about_s)}){line}", flush=True)
        try:
            _carry_out(running, name, about_s)
        except KeyboardInterrupt:
            place = f"stopped in step {number} of {len(planned)}; the same command goes on from here"
            print(f"{place}; {spent(running)}", flush=True)
            raise
        seconds = state.pop("interrupted_s", 0.0) + time.monotonic() - began
        running.note(done=[*state["done"], name], took_s={**state["took_s"], name: round(seconds, 1)})
        left = left_s(running.plan, state["done"]) * slower(running.plan, state["took_s"])
        print(f"      took {duration(seconds)}" + (f"; about {duration(left)} left" if left else ""), flush=True)


def _end(running: Fit) -> None:
    """Say the answer, and how to go on."""
    exported, budget = running.exported, duration(running.state["budget_s"])
    latency_us = read_json(exported.with_suffix(".json"))["latency"]["us"]
    print(read_json(running.files.answer)["sentence"])
    print(f"the exported file takes {latency_us / 1e3:.2f} ms an image in onnxruntime, on one thread")
    print(f"files: {exported.parent}; report: {running.files.report}")
    print(f"took {duration(running.state['spent_s'])} of a budget of {budget}; it names images by")
    print(command_line("predict", "IMAGES", model=exported))


def _carry_out(running: Fit, name: str, about_s: float) -> None:
    if name == "answer":
        config, left_out = running.config, running.state["plan"]["left_out"]
        names = [each for each in NETWORKS if each in running.state["done"]]
        with joined(running.device, config.run) as world:
            networks, cost = {each: running.network(each) for each in names}, running.limits().bounds[0].name
            found = answered(
                config, running.state["seen"]["uneven"], cost, world, networks, running.files.guesses, left_out
            )
        if "search" in running.state["done"]:
            found["sentence"] += unlearned(running.search.journal)
        found |= {"bounds": running.bounds, "left_out": left_out}
        write_json(running.files.answer, found)
        running.note(winner=found["winner"])
        return
    command, *words = running.words(name)
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"fewshot_nas.{command}").main
    running.files.fit_log.parent.mkdir(parents=True, exist_ok=True)
    report = partial(print, file=sys.stdout, flush=True)
    with running.files.fit_log.open("a", encoding="utf-8") as log, redirect_stdout(Said(log, report, about_s)):
        print(f"$ python -m fewshot_nas.{shlex.join([command, *words])}", flush=True)
        main(words)


def _decide(running: Fit, name: str) -> None:
    """What has to be known before a step, once: bounds that can be met, opponents; and what is left out to be in time.

    A decision is noted before the step begins, so that it is the same after a kill.
    """
    state, made, budget_s = running.state, running.plan, running.state["budget_s"]
    if name == "supernet":
        limits = running.limits()
        feasible_arch(limits, limits.space.pool_options)
    times = slower(made, state["took_s"])
    if name in ("scores", "search") and not {"scores", "search"} & set(state["decided"]):
        made = _if_learned(running, made)
    if name in NETWORKS and not set(NETWORKS) & set(state["decided"]):
        made, times = _measured(running, made), 1.0
    spent_s = running.spent_s
    made = in_time(made, state["done"], budget_s, spent_s, times)
    new = {each: why for each, why in made.left_out.items() if each not in state["plan"]["left_out"]}
    print(*omissions(new), sep="\n", end="\n" if new else "", flush=True)
    if made.epochs != state["plan"]["epochs"]:
        print(f"{made.epochs} epochs of each network, not {state['plan']['epochs']}: so the time allows", flush=True)
    if name in NETWORKS and (said := lateness(made, state["done"], budget_s, spent_s, times)):
        print(said, flush=True)
    running.note(plan=made.record(), decided=[*state["decided"], name], slower=round(times, 3))


def _if_learned(running: Fit, made: Plan) -> Plan:
    """The plan as it is, if the supernet has learned something; or if no ResNet-18 is within the bounds."""
    state, log = running.state, read_log(phase_directory(running.save, ONE_SHOT).log)
    if not log.collapse or not widest(running.limits()):
        return made
    took_s, known = state["took_s"]["supernet"], Costs(**state["costs"])
    return nothing_learned(made, known, state["done"], took_s, state["budget_s"], running.spent_s)


def _measured(running: Fit, made: Plan) -> Plan:
    """The plan with the opponents of what was found, and the epochs that the time allows, as these networks train."""
    state, known = running.state, Costs(**running.state["costs"])
    codes, step_s, reference_s = _timed(running, made)
    running.note(codes={name: code for name, code in codes.items() if name != "found"})
    if "found" in codes and "random" not in codes:
        made = without(made, ("random",), ALONE)
    others_s = left_s(made, [*state["done"], *NETWORKS]) + known.opening_s * len(NETWORKS)
    rest_s = networks_s(state["budget_s"], running.spent_s, others_s)
    return timed(made, known, step_s, reference_s, state["took_s"]["supernet"], rest_s)


def _timed(running: Fit, made: Plan) -> tuple[dict[str, str], dict[str, float], float]:
    """The codes of the networks, and the seconds of a step of each and of the space's reference by now."""
    state, config, limits = running.state, running.config, running.limits()
    space, batch = limits.space, config.stand_alone.batch_size
    assert isinstance(space, ResNetSpace)
    if "found" in made.seconds:
        found = read_json(running.search.found)
        codes = {"found": found["archs"][0]["code"], **opponents(limits, found, config.run.seed)}
    else:
        codes = {"reference": space.encode(widest(limits) or reference(space))}
    print("timing training steps of these networks ...", flush=True)
    with joined(running.device, config.run) as world, waiting("still timing"):
        machine = Machine(world.device, state["seen"]["classes"], precision=config.run.precision)
        step_s = {each: machine.step_s(space, space.decode(code), batch) for each, code in codes.items()}
        reference_s, slowed = machine.step_s(space, reference(space), batch), machine.slowed
        return codes, {each: slowed * seconds for each, seconds in step_s.items()}, slowed * reference_s


# ---- what a person reads meanwhile -----------------------------------------------------------------------------------

_GAP_S, _LINES = 30.0, 8  # so long, or such a share of a step, nothing is said of how far it is


class Said(io.TextIOBase):
    """Takes what a command says: all of it for the log; for a person its warnings, and now and then how far it is.

    Args:
        log: gets everything.
        report: takes a line for a person.
        step_s: how long the step will take.
    """

    def __init__(self, log: TextIO, report: Report, step_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._report, self._clock = log, report, clock
        self._gap_s = max(_GAP_S, step_s / _LINES)
        self._due, self._rest = clock() + self._gap_s, ""

    def write(self, text: str) -> int:
        """Write text; a line counts when it has ended."""
        self._log.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.startswith("warning:"):
                self._report(f"      {line}")
            elif line.endswith(" left") and self._clock() >= self._due:
                self._report(f"      {brief(line)}")
                self._due = self._clock() + self._gap_s
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        self._log.flush()


def brief(line: str) -> str:
    """How far a command is: the first and the last part of its line, and the accuracy.

    >>> brief("epoch 64/137; loss 1.787; top-1 28.00 %; 118 images/s, 29.8 % of it waiting; about 5.3 min left")
    'epoch 64/137; top-1 28.00 %; about 5.3 min left'
    """
    parts = line.split("; ")
    return "; ".join(part for at, part in enumerate(parts) if at in (0, len(parts) - 1) or part.startswith("top-1"))


def whole_plan(running: Fit) -> list[str]:
    """The rules with what they chose, the plan, and what is to be expected of it."""
    state, known = running.state, Costs(**running.state["costs"])
    rules = [f"  {name:13} {chosen}" for name, chosen in state["rules"].items()]
    planned = plan_lines(running.plan, state["spent_s"] + left_s(running.plan, state["done"]))
    lines = [f"settings, by the rules of docs/fit.md: {running.files.fit_settings}", *rules, "the plan:", *planned]
    if few := few_epochs(running.plan, known):
        sensible = duration(sensible_s(known, state["budget_s"], state["spent_s"]))
        lines.append(f"warning: {' and '.join(few)}, so accuracies will be low; about {sensible} would be sensible")
    return lines


def continued(running: Fit) -> str:
    """What is done of a run that goes on, and what is left."""
    state = running.state
    done, steps = len(state["done"]), len(state["plan"]["seconds"])
    left = duration(slower(running.plan, state["took_s"]) * left_s(running.plan, state["done"]))
    said = f"{done} of {steps} steps are done, {spent(running)}, about {left} is left"
    return f"run {running.files.path} (continued: {said})"


def spent(running: Fit) -> str:
    """How much of the budget is spent."""
    seconds, budget_s = running.spent_s, running.state["budget_s"]
    return f"{duration(seconds)} of {duration(budget_s)} {'are' if seconds >= 1.5 else 'is'} spent"
