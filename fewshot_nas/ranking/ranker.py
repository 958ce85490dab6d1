"""The ranker: from scores and truths of some archs, and costs of all, to a value for every arch.

scores of some archs --smooth--> scores of all --average over supernets--> --combine with costs--> needs no truth
NASWOT of some untrained networks --smooth--> of all --combine, instead of costs, if there is any--> the same
combined scores, smoothing's residuals, features, and truths of some archs --predict--> accuracies of all

A supernet's scores are noisy: some widths and blocks happen to be trained better than others. Averaged over archs of
similar shape, they rank better than the raw scores (+0.03 to +0.14 in tau on published score files), and archs that
were never scored get a score.

Both constants of the combination were chosen on the digits and the Fashion-MNIST study, before `fashion_pairs` had a
truth, so that no truth of it was asked. Supernets of all kinds underrate archs that compute much:
those of the study gain 0.05 to 0.2 in tau by `MACS_WEIGHT`, the digits' 0.04 to 0.06. Whether what
smoothing takes away is noise nobody can tell without truth, so `KEPT` of it stays.

Untrained networks (`scoring/scorer.py`) know something else than supernets, and grow with costs: on three public
tables of CIFAR-10 the sum of both gains 0.03 to 0.13 in tau over the scores, and costs beside it lose (docs/study.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking import predictor
from fewshot_nas.ranking.correlation import Floats, correlations
from fewshot_nas.ranking.features import FEWEST_SCORED, standardised
from fewshot_nas.ranking.predictor import Estimate

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


def smooth(described: Floats, scored: Floats) -> Estimate:
    """Fit the scores by a linear function of the features, and evaluate it for all archs.

    The fit is a Bayesian ridge regression, whose shrinkage follows from the scores themselves
    (MacKay, Neural Computation 4, 1992). A quadratic function follows the scores more closely and ranks worse:
    what it adds is the supernet's bias rather than the archs' quality (docs/study.md).

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
    model = make_pipeline(StandardScaler(), BayesianRidge()).fit(described[known], scored[known])
    value, error = model.predict(described, return_std=True)
    return Estimate(value, error)


KEPT = 0.5  # share of the difference between an arch's own score and the smoothed one
MACS_WEIGHT = 0.3  # standard deviations of the score per standard deviation of the log multiply-adds
UNTRAINED_WEIGHT = 1.0  # the same of the untrained networks' score, which takes the multiply-adds' place


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
    """Add the weighted log multiply-adds, or what untrained networks tell, and keep the scores' mean and spread.

    Args:
        raw: scores, nan where an arch has none, [n].
        smoothed: the smoothed scores of all archs.
        log_macs: the log multiply-adds of all archs, [n].
        untrained: smoothed scores of all archs' untrained networks, if there are some, [n].
    """
    scores = partly_smoothed(raw, smoothed)
    more = MACS_WEIGHT * standardised(log_macs) if untrained is None else UNTRAINED_WEIGHT * standardised(untrained)
    total = standardised(standardised(scores) + more)
    return Estimate(float(np.mean(scores)) + float(np.std(scores)) * total, smoothed.error)


def partly_smoothed(raw: Floats, smoothed: Estimate) -> Floats:
    """Smoothed scores with the share `KEPT` of what smoothing took away, [n]."""
    return smoothed.value + KEPT * surplus(raw, smoothed)


def surplus(raw: Floats, smoothed: Estimate) -> Floats:
    """The difference between each score and its smoothed score; 0 where an arch has no score, [n]."""
    return np.where(np.isnan(raw), 0.0, raw - smoothed.value)


# ---- all steps together ----------------------------------------------------------------------------------------------

_LOG_MACS = -2  # the column of the features with the log multiply-adds


@dataclass(frozen=True)
class Ranker:
    """The values of n archs that need no truth, in log odds.

    Attributes:
        described: the archs' `features`, [n, columns].
        weights: those of the columns, [columns].
        raw: scores, averaged over supernets; nan where an arch has none, [n].
        smoothed, combined: estimates for all archs.
        beside: the archs that were scored because they have a truth, which smoothing is not fitted to, [n].
        untrained: smoothed scores of untrained networks for all archs, [n], or None.
    """

    described: Floats
    weights: Floats
    raw: Floats
    smoothed: Estimate
    combined: Estimate
    beside: NDArray[np.bool_]
    untrained: Floats | None = None

    @property
    def unscored(self) -> Floats:
        """The combined values, as they would be had none of the archs beside been scored, [n]."""
        raw = np.where(self.beside, np.nan, self.raw)
        return combine(raw, self.smoothed, self.described[:, _LOG_MACS], self.untrained).value

    @property
    def agreement(self) -> float:
        """Tau of scores and untrained networks, both smoothed, over all archs; nan without untrained ones.

        The two have different reasons to be wrong, so supernets that agree more with untrained networks tend to rank
        better, and no truth is needed to see it (docs/study.md).
        """
        if self.untrained is None:
            return math.nan
        return correlations(self.smoothed.value, self.untrained)[0]

    @property
    def inputs(self) -> predictor.PredictorInputs:
        evidence = [self.combined.value, surplus(self.raw, self.smoothed)]
        evidence += [] if self.untrained is None else [self.untrained]
        return predictor.inputs(np.stack(evidence, axis=1), self.described, self.weights)

    @property
    def shapes(self) -> predictor.PredictorInputs:
        """The inputs of a predictor without scores. Compared with it, one sees what the scores are worth."""
        return predictor.inputs(np.empty((len(self.described), 0)), self.described, self.weights)

    def predicted(self, truth: Floats) -> Estimate:
        """Predict the accuracies of all archs in log odds, from the truths of some; nan where there is none.

        Raises:
            InputError: too few truths.
        """
        known, inputs = ~np.isnan(truth), self.inputs
        return predictor.predict(inputs.of(known), log_odds(truth[known]), inputs)


def ranker(
    described: Floats,
    weights: Floats,
    scores: Sequence[Floats],
    beside: NDArray[np.bool_] | None = None,
    untrained: Floats | None = None,
) -> Ranker:
    """Smooth, average and combine the scores of supernets, and of untrained networks.

    Args:
        described, weights: `features` of all archs, [n, columns], and the `weights` of the columns.
        scores: for each supernet, in percent, nan where an arch has none, [n].
        beside: the archs that were scored for the sake of their truth, [n]. Smoothing is not fitted to them, so
            that it predicts them as well as any arch that was not scored.
        untrained: scores of untrained networks, nan where an arch has none, [n].

    Raises:
        InputError: a supernet has scored too few archs, or too few untrained networks have a score.
    """
    raw = [log_odds(each) for each in scores]
    beside = np.zeros(len(described), dtype=bool) if beside is None else beside
    smoothed = average([smooth(described, np.where(beside, np.nan, each)) for each in raw])
    mean = _mean(raw)
    known = None if untrained is None else smooth(described, untrained).value
    combined = combine(mean, smoothed, described[:, _LOG_MACS], known)
    return Ranker(described, weights, mean, smoothed, combined, beside, known)


def in_percent(estimate: Estimate) -> Estimate:
    """An estimate of log odds as percentages."""
    return Estimate(percent(estimate.value), percent_error(estimate.value, estimate.error))


def _mean(scores: Sequence[Floats]) -> Floats:
    """The mean of the standardised scores, on the scale of the first supernet; nan where a score is missing."""
    known = ~np.isnan(np.sum(scores, axis=0))
    mean = np.full(len(scores[0]), np.nan)
    if known.any():
        first = scores[0][known]
        mean[known] = first.mean() + first.std() * np.mean([standardised(each[known]) for each in scores], axis=0)
    return mean
