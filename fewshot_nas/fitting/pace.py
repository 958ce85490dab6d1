"""How a run keeps to its budget while steps take longer than was planned: what is left out, and what is said.

Trainings tell how much slower the machine has become; what is left is then expected to take as much longer.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from fewshot_nas.cli.pace import duration
from fewshot_nas.fitting.costs import Costs
from fewshot_nas.fitting.plan import FEWEST_SCORED, NETWORKS, RANKER, Plan, trained, without

_LATE = 1.1  # times the budget; what would end later is left out
_LATEST = 1.25  # the same for the reference, without which nothing is compared
STEADY = 1.5  # times as long as when they were timed steps may take, so that all ends within `_LATEST`


def slower(made: Plan, took_s: Mapping[str, float]) -> float:
    """How many times as long as planned the last training took; 1 if it was faster, or there was none."""
    known = [name for name in ("supernet", *NETWORKS) if name in took_s]
    return max([1.0, *(took_s[name] / made.seconds[name] for name in known[-1:])])


def left_s(made: Plan, done: Collection[str]) -> float:
    """The seconds of the steps that are not done."""
    return sum(seconds for name, seconds in made.seconds.items() if name not in done)


def in_time(made: Plan, done: Collection[str], budget_s: float, spent_s: float, slower: float) -> Plan:
    """The plan without what would end too late: the random arch, the ranker, and once a network is trained, the other.

    Args:
        done: the steps that are done.
        slower: how many times as long as planned the other steps will take.
    """
    for names, latest in ((("random",), _LATE), (RANKER, _LATE), (("reference",), _LATEST)):
        late_s = spent_s + slower * left_s(made, done) - budget_s
        begun = any(name in done for name in names) or (names == ("reference",) and "found" not in done)
        if late_s <= (latest - 1) * budget_s or begun:
            continue
        made = without(made, names, f"with it all would end {duration(late_s)} after the budget")
        if names == RANKER and "search" not in done and made.search > FEWEST_SCORED:
            fewer_s = made.seconds["search"] * FEWEST_SCORED / made.search
            made = replace(made, search=FEWEST_SCORED, seconds={**made.seconds, "search": round(fewer_s, 1)})
    return made


def lateness(made: Plan, done: Collection[str], budget_s: float, spent_s: float, slower: float) -> str:
    """That the budget will be passed, for a person; empty if it will not."""
    late_s = spent_s + slower * left_s(made, done) - budget_s
    if late_s <= 0:
        return ""
    why = f": steps take {slower:.1f} times as long as when they were timed" if slower >= 1.05 else ""
    return f"the budget of {duration(budget_s)} will be passed by about {duration(late_s)}{why}"


def timed(
    made: Plan, known: Costs, step_s: Mapping[str, float], reference_s: float, supernet_took_s: float, rest_s: float
) -> Plan:
    """The plan with the epochs that the time allows, as the networks that were found train.

    A moment may be quieter than the time to come, so the supernet's pace counts where that was slower.

    Args:
        step_s: of each network, at this moment.
        reference_s: a step of the space's reference at this moment.
        rest_s: for these networks.
    """
    now = reference_s / known.step_s
    pace = max(now, supernet_took_s / made.seconds["supernet"])
    return trained(made, known.at(pace), {name: each * pace / now for name, each in step_s.items()}, rest_s)
