"""Percentages as log odds, so that models can add and extrapolate without leaving the range from 0 to 100."""

import numpy as np

from fewshot_nas.ranking.influence import Floats

_LEAST = 0.05  # percent; no ranking set is large enough to resolve values closer to 0 or 100


def log_odds(percent: Floats) -> Floats:
    """The natural logarithm of p / (1 - p) for each percentage."""
    share = np.clip(percent, _LEAST, 100 - _LEAST) / 100
    odds: Floats = np.log(share / (1 - share))
    return odds


def percent(odds: Floats) -> Floats:
    """Percentages, strictly between 0 and 100, for log odds; the order is kept."""
    return np.asarray(100 / (1 + np.exp(-odds)), dtype=np.float64)


def percent_error(odds: Floats, error: Floats) -> Floats:
    """Standard deviations in percentage points, for standard deviations in log odds."""
    share = percent(odds) / 100
    return np.asarray(100 * error * share * (1 - share), dtype=np.float64)
