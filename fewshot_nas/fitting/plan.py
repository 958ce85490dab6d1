"""What a run of `fit` will do in its time, and what the budget leaves out.

Left out are, in this order: 1. the random arch; 2. the pool's scores and the ranker made from them. What remains (a
supernet, a search, the found network and a reference) is the least; a budget that does not allow it is refused.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any

from fewshot_nas.cli.main import duration
from fewshot_nas.fitting.asked import TooShortError
from fewshot_nas.fitting.costs import KEPT, Costs, trainings_s

STEPS: Mapping[str, str] = MappingProxyType(
    {
        "pool": "a pool of networks",
        "latency": "latencies on this device",
        "supernet": "the supernet",
        "scores": "scores of the pool",
        "merge": "scores merged",
        "ranker": "the ranker",
        "search": "the search within the bounds",
        "found": "the found network from scratch",
        "reference": "ResNet-18, narrowed to about its cost, from scratch",
        "random": "a random network of its cost from scratch",
        "answer": "the test images, once",
        "export": "files for other programs",
        "report": "the report",
    }
)
NETWORKS = ("found", "reference", "random")
RANKER = ("scores", "merge", "ranker")
_IMAGES = 1_000  # to rank on, where there are so many: at least
FEWEST_SCORED, _GOOD_SCORED, _MOST_SCORED = 60, 250, 500
_SCORES, _SUPERNET = 0.1, 0.3  # shares of the time of trainings and scores
_SENSIBLE = 0.5  # of the epochs wanted


@dataclass(frozen=True)
class Plan:
    """The plan.

    Attributes:
        seconds: of each step that will be made, in order.
        left_out: the reason for each step that will not be.
        epochs: of each network from scratch.
        supernet_epochs: of the supernet.
        sample: archs of the pool that are scored.
        search: archs that the search scores.
        images: to rank on.
    """

    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    epochs: int
    supernet_epochs: int
    sample: int
    search: int
    images: int

    def record(self) -> dict[str, Any]:
        return asdict(self)


def plan(known: Costs, budget_s: float, spent_s: float) -> Plan:
    """The plan of a run.

    Args:
        spent_s: on looking and measuring.

    Raises:
        TooShortError: the budget is too short.
    """
    if (lacking_s := _least_s(known) - _usable_s(known, budget_s, spent_s)) > 0:
        raise TooShortError(
            f"the budget of {duration(budget_s)} is too short for these images on this machine: the least is about"
            f" {duration(1.05 * (budget_s + lacking_s / KEPT))}, sensible is about"
            f" {duration(sensible_s(known, budget_s, spent_s))}; allow more, or less work: a lower --max, or"
            " fewer images (data.train_images=...)"
        )
    return _planned(known, _usable_s(known, budget_s, spent_s))


def planned_at_least(known: Costs, budget_s: float, spent_s: float) -> Plan:
    """As `plan`, but the least where the budget is too short."""
    return _planned(known, max(_least_s(known), _usable_s(known, budget_s, spent_s)))


def _usable_s(known: Costs, budget_s: float, spent_s: float) -> float:
    return trainings_s(budget_s, spent_s, known.fixed) - known.once_s - 6 * known.opening_s


def _least_s(known: Costs) -> float:
    networks_s = 2 * known.fewest * known.epoch_s(known.step_s)
    return networks_s + known.supernet[0] * known.supernet_s + FEWEST_SCORED * known.score_s(min(_IMAGES, known.images))


def _planned(known: Costs, usable: float) -> Plan:
    network_s, (fewest, most), least_s = known.epoch_s(known.step_s), known.supernet, _least_s(known)
    left_out: dict[str, str] = {}
    images = _ranked(known, _SCORES * usable)
    score_s = known.score_s(images)
    archs = max(int(_SCORES * usable / score_s), 2 * FEWEST_SCORED)
    sample = search = min(archs // 2, _MOST_SCORED)
    scored_s = (sample + search) * score_s
    if scored_s > min(2 * _SCORES * usable, usable - least_s + FEWEST_SCORED * score_s):
        left_out |= dict.fromkeys(RANKER, f"scores of {sample + search} networks would take {duration(scored_s)}")
        sample, search = 0, FEWEST_SCORED
        scored_s = search * score_s
    rest = usable - scored_s
    affordable = min(_SUPERNET * usable, rest - 2 * known.fewest * network_s) / known.supernet_s
    supernet = max(fewest, min(most, int(affordable)))
    seconds = {
        **known.fixed,
        "supernet": supernet * known.supernet_s + known.once_s + known.opening_s,
        "scores": sample * score_s + known.opening_s,
        "search": search * score_s + known.opening_s,
        **dict.fromkeys(NETWORKS, 0.0),
    }
    ordered = {name: round(seconds[name], 1) for name in STEPS if name in seconds and name not in left_out}
    made = Plan(ordered, left_out, 0, supernet, sample, search, images)
    if left_out:
        made = without(made, ("random",), left_out["ranker"])
    return trained(made, known, dict.fromkeys(NETWORKS, known.step_s), rest - supernet * known.supernet_s)


def _ranked(known: Costs, scores_s: float) -> int:
    """Images to rank on: as many as leave time for a good number of archs, which more archs do not replace.

    A choice of few images favours some shapes, and that error is as smooth as the ranking itself (docs/study.md).
    """
    affordable = scores_s / (2 * _GOOD_SCORED * known.scored_s) - known.calibration
    return min(known.images, max(_IMAGES, int(affordable)))


def sensible_s(known: Costs, budget_s: float, spent_s: float) -> float:
    """The first longer budget that gives half of the epochs wanted."""
    for tries in count(1):
        longer = budget_s * 1.05**tries
        usable = _usable_s(known, longer, spent_s)
        if usable >= _least_s(known) and not few_epochs(_planned(known, usable), known):
            return longer
    raise AssertionError


def few_epochs(made: Plan, known: Costs) -> list[str]:
    """What has less than half of the epochs that are wanted of it."""
    each = {"each network": (made.epochs, known.wanted), "the supernet": (made.supernet_epochs, known.supernet[1])}
    few = {name: pair for name, pair in each.items() if pair[0] < _SENSIBLE * pair[1]}
    return [f"{name} has {given} of the {wanted} epochs wanted" for name, (given, wanted) in few.items()]


def trained(made: Plan, known: Costs, step_s: Mapping[str, float], rest_s: float) -> Plan:
    """The plan with the epochs of the networks that fit into a time.

    The random arch is left out if each of three networks would get less than half of the epochs wanted.

    Args:
        step_s: of each network.
    """
    names = [name for name in NETWORKS if name in made.seconds]
    epoch_s = {name: known.epoch_s(step_s[name]) for name in names}
    epochs = min(known.wanted, int(rest_s / sum(epoch_s.values())))
    if "random" in names and epochs < max(known.fewest, known.wanted / 2):
        why = f"three trainings would get {max(epochs, 0)} epochs each, of {known.wanted} wanted"
        return trained(without(made, ("random",), why), known, step_s, rest_s)
    epochs = max(epochs, known.fewest)
    seconds = {name: round(epochs * epoch_s[name] + known.opening_s, 1) for name in names}
    return replace(made, epochs=epochs, seconds={**made.seconds, **seconds})


def without(made: Plan, names: Collection[str], why: str) -> Plan:
    """The plan without steps, for a reason."""
    gone = {name: why for name in names if name in made.seconds}
    kept = {name: seconds for name, seconds in made.seconds.items() if name not in gone}
    return replace(made, seconds=kept, left_out={**made.left_out, **gone})
