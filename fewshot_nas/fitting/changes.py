"""How a plan changes on its way: steps take longer or shorter, the supernet learns nothing, a budget is raised.

Trainings tell how much slower the machine has become; what is left is then expected to take as much longer.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from fewshot_nas.cli.main import duration
from fewshot_nas.fitting.costs import Costs
from fewshot_nas.fitting.plan import (
    FEWEST_SCORED,
    NETWORKS,
    RANKER,
    STEPS,
    Plan,
    planned_at_least,
    trained,
    without,
)

UNLEARNED = "the supernet has learned nothing, so one network gets all of the time"
DRAWN = "without a supernet that has learned, the found network is nearly random itself"
ALONE = "no other network is within the bounds"
_NEARLY = 0.95  # share of the budget that the networks may fill, once they are known
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


def networks_s(budget_s: float, spent_s: float, others_s: float) -> float:
    """The seconds that the networks may take, by the times of this moment.

    All that is left; but if steps become slower by `STEADY` from now on, the end is no later than `_LATEST`.

    Args:
        others_s: of the steps after them.
    """
    return min(_NEARLY * budget_s - spent_s, (_LATEST * budget_s - spent_s) / STEADY) - others_s


def timed(
    made: Plan, known: Costs, step_s: Mapping[str, float], reference_s: float, supernet_took_s: float, rest_s: float
) -> Plan:
    """The plan with the epochs that the time allows, as the networks that were found train.

    A moment may be quieter than the time to come, so the supernet's pace counts where that was slower. A random arch
    that was left out for want of time comes back if there is time for it by now.

    Args:
        step_s: of each network, at this moment.
        reference_s: a step of the space's reference at this moment.
        rest_s: for these networks.
    """
    now = reference_s / known.step_s
    pace = max(now, supernet_took_s / made.seconds["supernet"])
    costs, steps_s = known.at(pace), {name: each * pace / now for name, each in step_s.items()}
    lacked_time = "random" in made.left_out and made.left_out["random"] != DRAWN
    if lacked_time and "found" in made.seconds and "random" in step_s:
        longer = trained(_with(made, {"random": 0.0}), costs, steps_s, rest_s)
        if "random" in longer.seconds:
            return longer
    return trained(made, costs, steps_s, rest_s)


def nothing_learned(
    made: Plan, known: Costs, done: Collection[str], supernet_took_s: float, budget_s: float, spent_s: float
) -> Plan:
    """The plan after a supernet that has learned nothing, by which a search draws nearly at random.

    One network that is trained for the whole time is better than two that share it. So the reference is trained alone,
    unless both are likely to get all of the epochs wanted.

    Args:
        done: the steps that are done.
    """
    pace = supernet_took_s / made.seconds["supernet"]
    others_s = left_s(made, [*done, *NETWORKS]) + known.opening_s * len(NETWORKS)
    two = without(made, ("random",), DRAWN)
    steps_s = dict.fromkeys(NETWORKS, pace * known.step_s)
    likely = trained(two, known.at(pace), steps_s, networks_s(budget_s, spent_s, max(1.0, pace) * others_s))
    if likely.epochs == known.wanted:
        return two
    return without(made, (*RANKER, "search", "found", "random"), UNLEARNED)


def extended(made: Plan, known: Costs, begun: Collection[str], budget_s: float, spent_s: float) -> Plan:
    """The plan with a longer budget: what was begun stays, and what was left out for want of time is made, if it can.

    Args:
        begun: the steps that are done or decided.
        spent_s: before the first step.
    """
    fresh = planned_at_least(known, budget_s, spent_s)
    if "supernet" not in begun:
        return fresh
    trains = any(name in begun and name in made.seconds for name in NETWORKS)
    scored = trains or any(name in begun and name in made.seconds for name in ("scores", "search"))
    final = {name for name, why in made.left_out.items() if why in (UNLEARNED, ALONE)}
    kept = final | {name for name in begun if name in made.seconds} | ({*RANKER, "search"} if scored else set())
    seconds, left_out = {}, {}
    for name in STEPS:
        of = made if name in kept else fresh
        if trains and name in NETWORKS and name not in final:
            seconds[name] = made.seconds.get(name) or max(made.seconds.get(each, 0.0) for each in NETWORKS)
        elif name in of.seconds:
            seconds[name] = of.seconds[name]
        elif name in of.left_out:
            left_out[name] = of.left_out[name]
    return replace(
        made if scored else replace(fresh, supernet_epochs=made.supernet_epochs),
        seconds=seconds,
        left_out=left_out,
        epochs=made.epochs if trains else fresh.epochs,
    )


def _with(made: Plan, seconds: Mapping[str, float]) -> Plan:
    """The plan with steps that were left out."""
    known = {**made.seconds, **seconds}
    ordered = {name: known[name] for name in STEPS if name in known}
    return replace(made, seconds=ordered, left_out={k: why for k, why in made.left_out.items() if k not in seconds})
