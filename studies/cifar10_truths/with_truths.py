"""What `rank`'s predictor makes of scores and some truths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.ranking.baselines import plain_tau
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.ranker import log_odds, surplus
from studies.cifar10_truths.bed import Bed, Rule
from studies.cifar10_truths.judging import groups_of

DRAWS, ASKED = 20, 2_000


def evidence(bed: Bed, arm: str, rule: Rule) -> Floats:
    """What the ranker knows without truth: the rule, and what smoothing took away. [keys, 2]"""
    columns = (bed.ruled(arm, rule), surplus(*bed.smoothed(arm, rule[0])))
    return np.stack([bed.of_networks(each) for each in columns], axis=1)


def both(beside: Floats, scores: Floats) -> Floats:
    """What the ranker knows without truth: the rule with NASWOT, and the rule by scores. [keys, 2]"""
    return np.stack([beside, standardised(scores)], axis=1)


def predicted(bed: Bed, known: Floats, truths: Sequence[int], wanted: NDArray[np.int64]) -> Floats:
    """Predictions for the wanted keys from the truths of some networks.

    Args:
        known: the evidence of all keys, without columns for none.
    """
    told = inputs(known, bed.described, bed.weights)
    return predict(told.of(bed.rows[truths]), log_odds(bed.truth.accuracy[truths]), told.of(wanted)).value


def ranker_gains(bed: Bed, known: Mapping[str, Floats], truths: int) -> dict[str, Any]:
    """Taus of the ranker with some truths, with and without scores, and their differences, as means over draws.

    Args:
        known: by name, the evidence with scores, of all keys.
    """
    truth, columns = bed.truth, []
    evidences = [next(iter(known.values()))[:, :0], *known.values()]  # the first without scores
    for draw in range(DRAWS):
        order = np.random.default_rng([draw, truths]).permutation(len(bed.rows))
        asked = order[truths:][:ASKED]
        groups = groups_of(truth.counts["macs"][asked]).values()
        ranked = (predicted(bed, each, order[:truths], bed.rows[asked]) for each in evidences)
        columns.append([[plain_tau(each, truth.accuracy[asked], part) for part in groups] for each in ranked])
    without, *each = np.moveaxis(np.array(columns), 1, 0)  # [draws, whole and at equal cost] of each evidence
    return {name: _gain(scored, without) for name, scored in zip(known, each, strict=True)}


def _gain(scored: Floats, without: Floats) -> dict[str, Any]:
    """Taus of two rankings in the same draws, [draws, whole and at equal cost], and their difference."""
    off = scored - without
    error = 1.96 * off.std(0, ddof=1) / len(off) ** 0.5
    return {
        "with": scored.mean(0).tolist(),
        "without": without.mean(0).tolist(),
        "gain": off.mean(0).tolist(),
        "half_width": error.tolist(),
    }
