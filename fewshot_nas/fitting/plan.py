"""What a run will do in its time: the steps, the seconds of each, and what the budget leaves out, in this order.

1. the random arch; 2. the pool's scores and the ranker made from them. What remains (a supernet, a search, the found
network and a reference) is the least; a budget that does not allow it is refused. The same order counts for what has
to be left out later, when steps have taken longer than was planned.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
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
_RANKER = ("scores", "merge", "ranker")
_KEPT = 0.9  # share of the budget that is planned with
_LATE = 1.1  # times the budget; what would end later is left out
_SCORES, _SUPERNET = 0.1, 0.3  # shares of the time of trainings and scores
_FEWEST_SCORED, _MOST_SCORED = 60, 500
_IMAGES = 1_000  # the most to rank on
_FEWEST_SUPERNET = 4  # epochs
# Seconds of a core: of steps that depend on little, and the rest of those that train or score.
_USUAL_S: Mapping[str, float] = MappingProxyType(
    {"pool": 0.3, "merge": 0.5, "ranker": 2.0, "answer": 1.0, "export": 9.0, "report": 0.6}
)
_OPENING_S = 1.0
_SHARED = 0.4  # of an arch's multiply-adds are left where archs share blocks, as measured
_PART_S = 0.025  # of a part or network in a table of latencies, in five rounds


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


@dataclass(frozen=True)
class Costs:
    """What is known of the steps before they are made; times are in seconds.

    Attributes:
        steps: of an epoch.
        step_s, supernet_step_s: of one step, without its images.
        images_s: to prepare the images of an epoch.
        checked_s: to validate a network after an epoch.
        score_s: to score an arch.
        once_s: to decode all training photographs once.
        fixed: of the steps that neither train nor score.
        opening_s: of a command that opens the images.
        wanted, fewest: epochs of a network.
        supernet: the fewest and the most epochs of a supernet.
        images: to rank on.
    """

    steps: int
    step_s: float
    supernet_step_s: float
    images_s: float
    checked_s: float
    score_s: float
    once_s: float
    fixed: Mapping[str, float]
    opening_s: float
    wanted: int
    fewest: int
    supernet: tuple[int, int]
    images: int

    def epoch_s(self, step_s: float) -> float:
        """Of an epoch of one network."""
        return self.steps * step_s + self.images_s + self.checked_s

    @property
    def supernet_s(self) -> float:
        """Of an epoch of the supernet."""
        return self.steps * self.supernet_step_s + self.images_s


def trainings_s(budget_s: float, spent_s: float, fixed: Mapping[str, float]) -> float:
    """The seconds that trainings and scores may take."""
    return _KEPT * budget_s - spent_s - sum(fixed.values())


def fixed_s(parts: int, busy: float) -> dict[str, float]:
    """The seconds of the steps that neither train nor score.

    Args:
        parts: of the table of latencies.
        busy: how many times as long as alone a process takes beside others.
    """
    return {name: busy * seconds for name, seconds in {**_USUAL_S, "latency": parts * _PART_S}.items()}


def costs(seen: Seen, chosen: Chosen, parts: int, busy: float, epochs: int | None, supernet: int | None) -> Costs:
    """What the steps of a run cost.

    Args:
        parts, busy: see `fixed_s`.
        epochs, supernet: of a network and of the supernet, if they were given.
    """
    sizes, count = chosen.sizes, seen.train
    forward_s = sizes.step_s / sizes.batch / 3  # of an image
    ranked = min(seen.valid, _IMAGES)
    calibration = int(chosen.settings["evaluation"]["calibration_images"])
    steps, wanted = sizes.steps(count), epochs or chosen.wanted
    fixed = fixed_s(parts, busy)
    most = supernet or max(_FEWEST_SUPERNET, wanted // 2)
    return Costs(
        steps=steps,
        step_s=sizes.step_s,
        supernet_step_s=sizes.supernet_step_s or 0.0,
        images_s=count * sizes.prepare_s,
        checked_s=seen.valid * forward_s,
        score_s=(ranked + calibration) * forward_s * _SHARED,
        once_s=chosen.once_s,
        fixed={**fixed, "answer": fixed["answer"] + 3 * seen.test * forward_s},
        opening_s=busy * _OPENING_S,
        wanted=wanted,
        fewest=epochs or max(FEWEST_EPOCHS, -(-FEWEST_STEPS // steps)),
        supernet=(supernet or _FEWEST_SUPERNET, most),
        images=ranked,
    )


def plan(known: Costs, budget_s: float, spent_s: float) -> Plan:
    """The plan of a run.

    Args:
        spent_s: on looking and measuring.

    Raises:
        InputError: the budget is too short.
    """
    usable = trainings_s(budget_s, spent_s, known.fixed) - known.once_s - 6 * known.opening_s
    network_s, (fewest, most) = known.epoch_s(known.step_s), known.supernet
    least_s = 2 * known.fewest * network_s + fewest * known.supernet_s + _FEWEST_SCORED * known.score_s
    if usable < least_s:
        raise InputError(
            f"the budget of {duration(budget_s)} is too short for these images on this machine: the least is about"
            f" {duration(1.05 * (budget_s + (least_s - usable) / _KEPT))}; allow more, or give fewer images"
            " (data.train_images=...)"
        )
    left_out: dict[str, str] = {}
    archs = max(int(_SCORES * usable / known.score_s), 2 * _FEWEST_SCORED)
    sample = search = min(archs // 2, _MOST_SCORED)
    scored_s = (sample + search) * known.score_s
    if scored_s > min(2 * _SCORES * usable, usable - least_s + _FEWEST_SCORED * known.score_s):
        left_out |= dict.fromkeys(_RANKER, f"scores of {sample + search} networks would take {duration(scored_s)}")
        sample, search = 0, _FEWEST_SCORED
        scored_s = search * known.score_s
    rest = usable - scored_s
    affordable = min(_SUPERNET * usable, rest - 2 * known.fewest * network_s) / known.supernet_s
    supernet = max(fewest, min(most, int(affordable)))
    seconds = {
        **known.fixed,
        "supernet": supernet * known.supernet_s + known.once_s + known.opening_s,
        "scores": sample * known.score_s + known.opening_s,
        "search": search * known.score_s + known.opening_s,
        **dict.fromkeys(NETWORKS, 0.0),
    }
    ordered = {name: round(seconds[name], 1) for name in STEPS if name not in left_out}
    made = Plan(ordered, left_out, 0, supernet, sample, search, known.images)
    if left_out:
        made = without(made, ("random",), "the ranker is left out")
    return trained(made, known, dict.fromkeys(NETWORKS, known.step_s), rest - supernet * known.supernet_s)


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


def in_time(made: Plan, done: Collection[str], budget_s: float, spent_s: float, slower: float) -> Plan:
    """The plan without what would end too late.

    Args:
        done: the steps that are done.
        slower: how many times as long as planned the other steps will take.
    """
    for names in (("random",), _RANKER):
        if spent_s + slower * left_s(made, done) > _LATE * budget_s and not any(name in done for name in names):
            made = without(made, names, "earlier steps took longer than was planned")
            if names == _RANKER and "search" not in done and made.search > _FEWEST_SCORED:
                fewer_s = made.seconds["search"] * _FEWEST_SCORED / made.search
                made = replace(made, search=_FEWEST_SCORED, seconds={**made.seconds, "search": round(fewer_s, 1)})
    return made


def left_s(made: Plan, done: Collection[str]) -> float:
    return sum(seconds for name, seconds in made.seconds.items() if name not in done)


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
    lines += [f"  -. {STEPS[name]} is left out: {why}" for name, why in made.left_out.items()]
    return [*lines, f"     all of it: about {duration(whole_s)}"]
