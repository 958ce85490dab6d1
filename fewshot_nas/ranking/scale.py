"""Percentages as log odds: there, models may add and extrapolate without leaving 0 to 100."""

import numpy as np

from fewshot_nas.ranking.correlation import Floats

_LEAST = 0.05  # percent; nearer to 0 or 100 no ranking set can tell


def log_odds(percent: Floats) -> Floats:
    """The natural logarithm of p / (1 - p), of percentages."""
    share = np.clip(percent, _LEAST, 100 - _LEAST) / 100
    odds: Floats = np.log(share / (1 - share))
    return odds


def percent(odds: Floats) -> Floats:
    """Percentages strictly between 0 and 100, of log odds; the order is kept."""
    return np.asarray(100 / (1 + np.exp(-odds)), dtype=np.float64)


def percent_error(odds: Floats, error: Floats) -> Floats:
    """Standard deviations in points of percent, of such in log odds."""
    share = percent(odds) / 100
    return np.asarray(100 * error * share * (1 - share), dtype=np.float64)
