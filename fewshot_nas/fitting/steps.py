"""The run of `fit`: look, rules, plan, then one step after the other, each of them a command that a person can give.

`fit.json` holds what was decided and which steps are done, and is written whole before and after each step. So the
same command goes on after a kill and takes the same decisions; a step that was interrupted goes on by itself.
"""

import importlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from fewshot_nas.cli.main import duration
from fewshot_nas.cli.names import command_line
from fewshot_nas.distributed import joined
from fewshot_nas.fitting.answer import answered
from fewshot_nas.fitting.asked import Asked
from fewshot_nas.fitting.begin import begun
from fewshot_nas.fitting.changes import left_s, slower
from fewshot_nas.fitting.decisions import decide, longer
from fewshot_nas.fitting.plan import NETWORKS, STEPS
from fewshot_nas.fitting.progress import Said, continued, spent, whole_plan
from fewshot_nas.fitting.state import Fit
from fewshot_nas.fitting.verdict import Terms, unlearned
from fewshot_nas.models.export import check_formats
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import RunFiles


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
        raised = asked.budget_s > state["budget_s"]
        if raised:
            print(longer(running, asked), flush=True)
        if len(state["done"]) < len(state["plan"]["seconds"]):
            if not (raised and options.plan):
                running.note(interrupted_s=state.get("interrupted_s", 0.0) + lost_s)
            print(continued(running))
    if state is None or options.plan:
        print(*whole_plan(running, rules=options.plan), sep="\n", flush=True)
    if not options.plan:
        _walk(running)
        _end(running)


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
            decide(running, name)
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
        _answer(running)
        return
    command, *words = running.words(name)
    main: Callable[[Sequence[str]], int] = importlib.import_module(f"fewshot_nas.{command}").main
    running.files.fit_log.parent.mkdir(parents=True, exist_ok=True)
    report = partial(print, file=sys.stdout, flush=True)
    with running.files.fit_log.open("a", encoding="utf-8") as log, redirect_stdout(Said(log, report, about_s)):
        print(f"$ python -m fewshot_nas.{shlex.join([command, *words])}", flush=True)
        main(words)


def _answer(running: Fit) -> None:
    state, config, limits = running.state, running.config, running.limits()
    beyond = [name for name, code in state["codes"].items() if not limits.fits(limits.space.decode(code))]
    terms = Terms.of(state["seen"]["uneven"], limits.bounds[0].name, state["plan"]["left_out"], beyond)
    networks = {name: running.network(name) for name in NETWORKS if name in state["done"]}
    with joined(running.device, config.run) as world:
        found = answered(config, world, networks, running.files.guesses, terms)
    if "search" in state["done"]:
        found["sentence"] += unlearned(running.search.journal)
    write_json(running.files.answer, found | {"bounds": running.bounds})
    running.note(winner=found["winner"])
