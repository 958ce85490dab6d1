"""Which epoch of a phase becomes its supernet, and which checkpoints stay on disk until then."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fewshot_nas.ranking.interval import merit

RULE = "the latest epoch whose tau by mean probability is within one standard error of the largest"
RULE_WITHOUT_TRUTH = "the last epoch, because no tau is known"


@dataclass(frozen=True)
class Candidate:
    """An epoch with its tau and tau's standard error; both are nan if there is no ground truth."""

    epoch: int
    tau: float
    error: float


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Choose by `RULE`, or the latest epoch if no tau is known."""
    best = max(candidates, key=_merit)
    margin = 0.0 if math.isnan(best.error) else best.error
    return max((each for each in candidates if _known_tau(each) >= _known_tau(best) - margin), key=_epoch)


def rule(chosen: Candidate) -> str:
    """The rule by which `choose` chose this candidate, as text."""
    return RULE_WITHOUT_TRUTH if math.isnan(chosen.tau) else RULE


def keep(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The chosen candidate, the best, and the next best by tau: `count` candidates, but at least these two.

    Only an epoch after the best one can be chosen later, so no candidate that may be needed is lost.
    """
    kept = [choose(candidates)]
    for each in sorted(candidates, key=_merit, reverse=True):
        if each not in kept and len(kept) < max(count, 2):
            kept.append(each)
    return sorted(kept, key=_epoch)


def _known_tau(candidate: Candidate) -> float:
    return merit(candidate.tau)


def _merit(candidate: Candidate) -> tuple[float, int]:
    return _known_tau(candidate), candidate.epoch


def _epoch(candidate: Candidate) -> int:
    return candidate.epoch
