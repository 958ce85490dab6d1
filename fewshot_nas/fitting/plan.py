"""What a run will do in its time: the steps, the seconds of each, and what the budget leaves out, in this order.

1. the random arch; 2. the pool's scores and the ranker made from them. What remains (a supernet, a search, the found
network and a reference) is the least; a budget that does not allow it is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.pace import duration
from fewshot_nas.fitting.look import Seen
from fewshot_nas.fitting.rules import FEWEST_EPOCHS, FEWEST_STEPS, Chosen

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
        "reference": "ResNet-18, as narrow, from scratch",
        "random": "a random network of the same cost from scratch",
        "answer": "the test images, once",
        "export": "files for other programs",
        "report": "the report",
    }
)
NETWORKS = ("found", "reference", "random")
_KEPT = 0.9  # share of the budget that is planned with
_SCORES, _SUPERNET = 0.1, 0.3  # shares of the time of trainings and scores
_FEWEST_SCORED, _MOST_SCORED, _POOL = 60, 500, 1_000
_IMAGES = 1_000  # the most to rank on
_FEWEST_SUPERNET = 4  # epochs
_USUAL_S = {"pool": 3.0, "merge": 3.0, "ranker": 8.0, "export": 30.0, "report": 6.0}
_OPENING_S = 3.0  # of a command that opens the images
_PART_S = 0.06  # of a part or network in a table of latencies, in five rounds
_TIMES = {"h": 3600, "m": 60, "min": 60, "s": 1}


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
        """The form in which a file holds it."""
        return asdict(self)


def read_budget(text: str) -> float:
    """Seconds of a budget such as `2h`, `90min` or `1.5h`.

    Raises:
        InputError: it is none.

    >>> read_budget("90min"), read_budget("1.5h")
    (5400.0, 5400.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(h|min|m|s)", text)
    if not match or float(match[1]) == 0:
        raise InputError(f"--budget is {text!r}, expected a time such as 2h, 30min or 90s")
    return float(match[1]) * _TIMES[match[2]]


def trainings_s(budget_s: float, spent_s: float, parts: int) -> float:
    """The seconds that trainings and scores may take, if the table of latencies has so many parts."""
    return _KEPT * budget_s - spent_s - _fixed_s(parts)


def _fixed_s(parts: int) -> float:
    return sum(_USUAL_S.values()) + parts * _PART_S + 6 * _OPENING_S


def plan(seen: Seen, chosen: Chosen, budget_s: float, spent_s: float, parts: int) -> Plan:
    """The plan of a run.

    Args:
        spent_s: on looking and measuring.
        parts: of the table of latencies.

    Raises:
        InputError: the budget is too short.
    """
    sizes, images = chosen.sizes, seen.train
    network_s, supernet_s = sizes.network_s(images), sizes.supernet_s(images)
    forward_s = sizes.step_s / sizes.batch / 3  # of an image
    checked_s = seen.valid * forward_s  # after each epoch
    tested_s = seen.test * forward_s
    ranked = min(seen.valid, _IMAGES)
    calibration = int(chosen.settings["evaluation"]["calibration_images"])
    score_s = (ranked + calibration) * forward_s * 0.7
    usable = trainings_s(budget_s, spent_s, parts) - chosen.once_s - 4 * tested_s
    fewest = max(FEWEST_EPOCHS, -(-FEWEST_STEPS // sizes.steps(images)))
    least_s = 2 * fewest * (network_s + checked_s) + _FEWEST_SUPERNET * supernet_s + _FEWEST_SCORED * score_s
    if usable < least_s:
        least = (budget_s - usable / 1 + least_s * 1.1) if usable > 0 else (budget_s - usable + least_s) / _KEPT
        raise InputError(
            f"the budget of {duration(budget_s)} is too short for {images:,} images of {sizes.space.resolution} px on"
            f" this machine: the least is about {duration(least)}; allow more, or give fewer images"
            " (data.train_images=...)"
        )
    left_out: dict[str, str] = {}
    archs = int(_SCORES * usable / score_s)
    sample, search = min(archs // 2, _MOST_SCORED), min(max(archs // 2, _FEWEST_SCORED), _MOST_SCORED)
    if sample < _FEWEST_SCORED:
        for name in ("scores", "merge", "ranker"):
            left_out[name] = f"the budget allows scores of {archs} networks only, which the search needs"
        sample, search = 0, min(max(archs, _FEWEST_SCORED), _MOST_SCORED)
    scored_s = {"scores": sample * score_s, "search": search * score_s}
    most = min(chosen.wanted // 2, _SUPERNET * usable / supernet_s)
    supernet = max(_FEWEST_SUPERNET, int(most))
    rest = usable - sum(scored_s.values()) - supernet * supernet_s
    epochs = {count: min(chosen.wanted, int(rest / count / (network_s + checked_s))) for count in (2, 3)}
    networks = 3 if epochs[3] >= chosen.wanted / 2 else 2
    if networks == 2:
        left_out["random"] = f"three trainings would get {epochs[3]} epochs each, of {chosen.wanted} wanted"
    given = max(epochs[networks], 1)
    training_s = given * (network_s + checked_s) + _OPENING_S
    seconds = {
        **_USUAL_S,
        "latency": parts * _PART_S,
        "supernet": supernet * supernet_s + chosen.once_s + _OPENING_S,
        **{name: value + _OPENING_S for name, value in scored_s.items()},
        **dict.fromkeys(NETWORKS, training_s),
        "answer": 3 * tested_s + _OPENING_S,
    }
    kept = {name: round(seconds[name], 1) for name in STEPS if name not in left_out}
    return Plan(kept, left_out, given, supernet, sample, search, ranked)


def plan_lines(made: Plan, spent_s: float) -> list[str]:
    """The plan for a person."""
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
    lines += [f"  -. {STEPS[name]} is left out: {why}" for name, why in made.left_out.items()]
    return [*lines, f"     all of it: about {duration(spent_s + sum(made.seconds.values()))}"]
