"""A ranking that needs no truth: scores in log odds, smoothed over archs of similar shape, combined with multiply-adds.

A supernet's scores are noisy: some widths and blocks happen to be trained better than others. Averaged over archs of
similar shape, they rank better than the raw scores (+0.03 to +0.14 in tau on published score files), and archs that
were never scored get a score.

Both constants of the combination were chosen on the digits and the Fashion-MNIST study, before `fashion_pairs` had a
truth, so that no truth of it was asked. Supernets of all kinds underrate archs that compute much:
those of the study gain 0.05 to 0.2 in tau by `MACS_WEIGHT`, the digits' 0.04 to 0.06. Whether what
smoothing takes away is noise nobody can tell without truth, so `KEPT` of it stays.

Untrained networks (`evaluation/untrained.py`) know something else than supernets: on three public tables of CIFAR-10
the sum of both gains 0.04 to 0.11 in tau over the better of them (docs/study.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.features import standardised
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


FEWEST_SCORED = 20


@dataclass(frozen=True)
class Estimate:
    """A value for each arch, and the standard deviation of its error; both [n]."""

    value: Floats
    error: Floats


def smooth(described: Floats, scored: Floats) -> Estimate:
    """Fit the scores by a quadratic function of the features, and evaluate it for all archs.

    The fit is a Bayesian ridge regression, whose shrinkage follows from the scores themselves
    (MacKay, Neural Computation 4, 1992). With few scores the function is linear, because a quadratic
    one has too many coefficients.

    Args:
        described: `features` of all archs, [n, columns].
        scored: their scores, nan where an arch has none, [n].

    Returns:
        The standard deviation is that of a new score of the arch, including the score's own noise.

    Raises:
        InputError: too few archs were scored.
    """
    known = ~np.isnan(scored)
    if known.sum() < FEWEST_SCORED:
        raise InputError(f"{known.sum()} archs were scored, expected at least {FEWEST_SCORED} to smooth their scores")
    model = _surface(described.shape[1], int(known.sum())).fit(described[known], scored[known])
    value, error = model.predict(described, return_std=True)
    return Estimate(value, error)


def _surface(columns: int, scored: int) -> Any:
    coefficients = (columns + 1) * (columns + 2) // 2
    quadratic = scored >= 1.5 * coefficients
    terms = PolynomialFeatures(2 if quadratic else 1, include_bias=False)
    return make_pipeline(StandardScaler(), terms, StandardScaler(), BayesianRidge())


KEPT = 0.5  # share of the difference between an arch's own score and the smoothed one
MACS_WEIGHT = 0.3  # standard deviations of the score per standard deviation of the log multiply-adds
UNTRAINED_WEIGHT = 1.0  # of the untrained networks' score, per standard deviation of all else; the only one ever tried


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


def combine(raw: Floats, smoothed: Estimate, log_macs: Floats, untrained: Floats | None = None) -> Estimate:
    """Add the weighted log multiply-adds, and what untrained networks tell, and keep the scores' mean and spread.

    Args:
        raw: scores, nan where an arch has none, [n].
        smoothed: the smoothed scores of all archs.
        log_macs: the log multiply-adds of all archs, [n].
        untrained: smoothed scores of all archs' untrained networks, if there are some, [n].
    """
    scores = partly_smoothed(raw, smoothed)
    total = standardised(standardised(scores) + MACS_WEIGHT * standardised(log_macs))
    if untrained is not None:
        total = standardised(total + UNTRAINED_WEIGHT * standardised(untrained))
    return Estimate(float(np.mean(scores)) + float(np.std(scores)) * total, smoothed.error)


def partly_smoothed(raw: Floats, smoothed: Estimate) -> Floats:
    """Smoothed scores with the share `KEPT` of what smoothing took away, [n]."""
    return smoothed.value + KEPT * surplus(raw, smoothed)


def surplus(raw: Floats, smoothed: Estimate) -> Floats:
    """The difference between each score and its smoothed score; 0 where an arch has no score, [n]."""
    return np.where(np.isnan(raw), 0.0, raw - smoothed.value)
