"""What the steps of a run cost, and what it will do in its time: the seconds of each, and what the budget leaves out.

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
from fewshot_nas.fitting.look import Seen
from fewshot_nas.fitting.rules import FEWEST_EPOCHS, FEWEST_STEPS, Chosen

FEWEST_SUPERNET = 4  # epochs
KEPT = 0.9  # share of the budget that is planned with
_IMAGES, _MOST_IMAGES = 1_000, 10_000  # to rank on, where there are so many: at least, and at most
# Seconds of a core, as they usually take: of steps that depend on little, and the rest of those that train or score.
_USUAL_S: Mapping[str, float] = MappingProxyType(
    {"pool": 0.3, "merge": 0.5, "ranker": 2.0, "answer": 1.0, "export": 9.0, "report": 0.6}
)
_OPENING_S = 1.0
_SHARED = 0.4  # of the reference's time an arch of the pool takes: most are smaller, and they share blocks; as measured
_PART_S = 0.025  # of a part or network in a table of latencies, in five rounds


@dataclass(frozen=True)
class Costs:
    """What is known of the steps before they are made; times are in seconds.

    Attributes:
        steps: of an epoch.
        step_s, supernet_step_s: of one step, without its images.
        images_s: to prepare the images of an epoch.
        checked_s: to validate a network after an epoch.
        scored_s: of an image on which an arch is scored.
        once_s: to decode all training photographs once.
        fixed: of the steps that neither train nor score.
        opening_s: of a command that opens the images.
        wanted, fewest: epochs of a network.
        supernet: the fewest and the most epochs of a supernet.
        images: the most to rank on.
        calibration: images to calibrate an arch with.
    """

    steps: int
    step_s: float
    supernet_step_s: float
    images_s: float
    checked_s: float
    scored_s: float
    once_s: float
    fixed: Mapping[str, float]
    opening_s: float
    wanted: int
    fewest: int
    supernet: tuple[int, int]
    images: int
    calibration: int

    def score_s(self, images: int) -> float:
        """Of an arch that is scored on so many images."""
        return (images + self.calibration) * self.scored_s

    def epoch_s(self, step_s: float) -> float:
        """Of an epoch of one network."""
        return self.steps * step_s + self.images_s + self.checked_s

    @property
    def supernet_s(self) -> float:
        """Of an epoch of the supernet."""
        return self.steps * self.supernet_step_s + self.images_s

    def at(self, pace: float) -> "Costs":
        """What goes with an epoch of a network, where all takes so many times as long as it did."""
        return replace(self, images_s=pace * self.images_s, checked_s=pace * self.checked_s)


def trainings_s(budget_s: float, spent_s: float, fixed: Mapping[str, float]) -> float:
    """The seconds that trainings and scores may take."""
    return KEPT * budget_s - spent_s - sum(fixed.values())


def fixed_s(parts: int, busy: float) -> dict[str, float]:
    """The seconds of the steps that neither train nor score.

    Args:
        parts: of the table of latencies; 0 if none is made, because no latency is bounded.
        busy: how many times as long as alone a process takes beside others.
    """
    usual = {**_USUAL_S, "latency": parts * _PART_S} if parts else _USUAL_S
    return {name: busy * seconds for name, seconds in usual.items()}


def costs(seen: Seen, chosen: Chosen, parts: int, busy: float, epochs: int | None, supernet: int | None) -> Costs:
    """What the steps of a run cost.

    Args:
        parts, busy: see `fixed_s`.
        epochs, supernet: of a network and of the supernet, if they were given.
    """
    sizes, count = chosen.sizes, seen.train
    forward_s = busy * (sizes.forward_s or 0.0)
    calibration = int(chosen.settings["evaluation"]["calibration_images"])
    steps, wanted = sizes.steps(count), epochs or chosen.wanted
    fixed = fixed_s(parts, busy)
    most = supernet or max(FEWEST_SUPERNET, wanted // 2)
    return Costs(
        steps=steps,
        step_s=busy * sizes.step_s,
        supernet_step_s=busy * (sizes.supernet_step_s or 0.0),
        images_s=busy * count * sizes.prepare_s,
        checked_s=seen.valid * forward_s,
        scored_s=forward_s * _SHARED,
        once_s=chosen.once_s,
        fixed={**fixed, "answer": fixed["answer"] + 3 * seen.test * forward_s},
        opening_s=busy * _OPENING_S,
        wanted=wanted,
        fewest=epochs or max(FEWEST_EPOCHS, -(-FEWEST_STEPS // steps)),
        supernet=(supernet or FEWEST_SUPERNET, most),
        images=min(seen.valid, _MOST_IMAGES),
        calibration=calibration,
    )


# ---- the plan --------------------------------------------------------------------------------------------------------

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
