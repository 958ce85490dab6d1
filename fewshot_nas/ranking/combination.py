"""A ranking without any truth: smoothed scores of several supernets, and what the archs cost.

Supernets of all kinds err alike: they underrate archs that compute much. Those of the Fashion-MNIST
study gain 0.10 to 0.15 in tau by `MACS_WEIGHT` and lose nothing anywhere between 0.2 and 0.5. The
weight is a constant, so that no truth is asked; it was chosen before the test bed's truth existed.
"""

from collections.abc import Sequence

import numpy as np

from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.smoothing import Estimate

MACS_WEIGHT = 0.3  # standard deviations of the score for one of the log multiply-adds


def average(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of several supernets' scores, each standardised first; on the scale of the first.

    The standard deviation is the larger of how far the supernets say, on average, and how far they
    disagree.
    """
    first = estimates[0].value
    scale, shift = float(np.std(first)) or 1.0, float(np.mean(first))
    values = np.array([standardised(each.value) for each in estimates])
    errors = np.array([each.error / (np.std(each.value) or 1.0) for each in estimates])
    error = np.maximum(errors.mean(0), values.std(0))
    return Estimate(shift + scale * values.mean(0), scale * error)


def combine(smoothed: Estimate, log_macs: Floats) -> Estimate:
    """Add the weighted log multiply-adds to the scores; mean and spread stay the scores'.

    Args:
        smoothed: of all archs.
        log_macs: theirs, [n].
    """
    scale, shift = float(np.std(smoothed.value)), float(np.mean(smoothed.value))
    total = standardised(standardised(smoothed.value) + MACS_WEIGHT * standardised(log_macs))
    return Estimate(shift + scale * total, smoothed.error)
