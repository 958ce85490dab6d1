"""What the steps of a run cost: the seconds of each, as this machine was timed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fewshot_nas.fitting.look import Seen
from fewshot_nas.fitting.rules import FEWEST_EPOCHS, FEWEST_STEPS, Chosen

FEWEST_SUPERNET = 4  # epochs
KEPT = 0.9  # share of the budget that is planned with
_MOST_IMAGES = 10_000  # to rank on
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
        once_s: to decode photographs once.
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
