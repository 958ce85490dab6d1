"""What a person reads of a run of `fit`: its plan, what is done, and now and then how far a command is."""

import io
import time
from collections.abc import Callable, Mapping
from textwrap import wrap
from typing import TextIO

from fewshot_nas.cli.main import Report, duration
from fewshot_nas.fitting.changes import left_s, slower
from fewshot_nas.fitting.plan import NETWORKS, STEPS, Plan, few_epochs, sensible_s
from fewshot_nas.fitting.rules import TABLE
from fewshot_nas.fitting.state import Fit

_COLUMNS = 120
_GAP_S, _LINES = 30.0, 8  # so long, or such a share of a step, nothing is said of how far it is


def whole_plan(running: Fit, *, rules: bool) -> list[str]:
    """What was chosen, the plan, and what is to be expected of it.

    Args:
        rules: whether each choice is followed by its rule.
    """
    state, known = running.state, running.costs
    chosen = []
    for name, value in state["rules"].items():
        chosen.append(f"  {name:13} {value}")
        if rules and name in TABLE:
            chosen += wrap(f"({TABLE[name]})", _COLUMNS, initial_indent=" " * 16, subsequent_indent=" " * 17)
    planned = plan_lines(running.plan, state["spent_s"] + left_s(running.plan, state["done"]))
    lines = [f"settings, by the rules of docs/fit.md: {running.files.fit_settings}", *chosen, "the plan:", *planned]
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


def plan_lines(made: Plan, whole_s: float) -> list[str]:
    numbers = {
        "supernet": f", {made.supernet_epochs} epochs",
        "scores": f", {made.sample} networks on {made.images:,} images",
        "search": f", {made.search} networks",
        **dict.fromkeys(NETWORKS, f", {made.epochs} epochs"),
    }
    lines = [
        f"{number:3}. {STEPS[name] + numbers.get(name, ''):62} about {duration(seconds)}"
        for number, (name, seconds) in enumerate(made.seconds.items(), start=1)
    ]
    lines += [f"  -. {line}" for line in omissions(made.left_out)]
    return [*lines, f"     all of it: about {duration(whole_s)}"]


def omissions(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason, with the steps that it has left out."""
    return [
        f"left out: {', '.join(STEPS[name] for name, each in left_out.items() if each == why)} ({why})"
        for why in dict.fromkeys(left_out.values())
    ]


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
