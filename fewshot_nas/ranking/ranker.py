"""The ranker: from scores and truths of some archs, and costs of all, to a value for every arch.

scores of some archs --smooth--> scores of all --average over supernets--> --combine with costs--> needs no truth
NASWOT of some untrained networks --smooth--> of all --combine, if there is any--> the same
combined scores, smoothing's residuals, features, and truths of some archs --predict--> accuracies of all
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.ranking import predictor
from fewshot_nas.ranking.combination import (
    Estimate,
    average,
    combine,
    log_odds,
    percent,
    percent_error,
    smooth,
    surplus,
)
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.influence import Floats

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
    def inputs(self) -> predictor.PredictorInputs:
        """The inputs of a predictor."""
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
