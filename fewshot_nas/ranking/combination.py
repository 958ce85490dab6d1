"""A ranking that needs no truth: smoothed scores of several supernets, combined with the archs' multiply-adds.

Both constants were chosen on the digits and the Fashion-MNIST study, before `fashion_pairs` had a
truth, so that no truth of it was asked. Supernets of all kinds underrate archs that compute much:
those of the study gain 0.05 to 0.2 in tau by `MACS_WEIGHT`, the digits' 0.04 to 0.06. Whether what
smoothing takes away is noise nobody can tell without truth, so `KEPT` of it stays.
"""

from collections.abc import Sequence

import numpy as np

from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.smoothing import Estimate

KEPT = 0.5  # share of the difference between an arch's own score and the smoothed one
MACS_WEIGHT = 0.3  # standard deviations of the score per standard deviation of the log multiply-adds


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several supernets' standardised scores, on the scale of the first supernet.

    The standard deviation is the larger of two: the mean of the supernets' standard deviations, and
    the spread of their scores.
    """
    first = estimates[0].value
    scale, shift = float(np.std(first)) or 1.0, float(np.mean(first))
    values = np.array([standardised(each.value) for each in estimates])
    errors = np.array([each.error / (np.std(each.value) or 1.0) for each in estimates])
    error = np.maximum(errors.mean(0), values.std(0))
    return Estimate(shift + scale * values.mean(0), scale * error)


def combine(raw: Floats, smoothed: Estimate, log_macs: Floats) -> Estimate:
    """Add the weighted log multiply-adds to the scores, and keep the scores' mean and spread.

    Args:
        raw: scores, nan where an arch has none, [n].
        smoothed: the smoothed scores of all archs.
        log_macs: the log multiply-adds of all archs, [n].
    """
    scores = smoothed.value + KEPT * surplus(raw, smoothed)
    total = standardised(standardised(scores) + MACS_WEIGHT * standardised(log_macs))
    return Estimate(float(np.mean(scores)) + float(np.std(scores)) * total, smoothed.error)


def surplus(raw: Floats, smoothed: Estimate) -> Floats:
    """The difference between each score and its smoothed score; 0 where an arch has no score, [n]."""
    return np.where(np.isnan(raw), 0.0, raw - smoothed.value)
