"""The ranker: scores of supernets, costs and truths of some archs in, a value for every arch out.

scores of some archs --smooth--> all archs --average--> several supernets --combine--> no truth needed
combined, smoothed, what smoothing took away, features, truths of some archs --predict--> accuracies
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewshot_nas.ranking import predictor
from fewshot_nas.ranking.combination import average, combine, surplus
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.scale import log_odds, percent, percent_error
from fewshot_nas.ranking.smoothing import Estimate, smooth

_LOG_MACS = -2  # which column of the features it is


@dataclass(frozen=True)
class Ranker:
    """What is known of n archs without any truth; values are log odds.

    Attributes:
        described: their `features`, [n, columns].
        raw: scores, the mean over supernets; nan where an arch has none, [n].
        smoothed, combined: for all of them.
    """

    described: Floats
    raw: Floats
    smoothed: Estimate
    combined: Estimate

    @property
    def inputs(self) -> predictor.Inputs:
        """What a predictor goes by."""
        evidence = np.stack([self.combined.value, surplus(self.raw, self.smoothed)], axis=1)
        return predictor.inputs(evidence, self.described)

    @property
    def shapes(self) -> predictor.Inputs:
        """What a predictor goes by that has no scores: the opponent that says what they are worth."""
        return predictor.inputs(np.empty((len(self.described), 0)), self.described)

    def predicted(self, truth: Floats) -> Estimate:
        """All archs' accuracies in log odds, from the truths of some; nan where there is none.

        Raises:
            InputError: too few truths.
        """
        known, inputs = ~np.isnan(truth), self.inputs
        return predictor.predict(inputs.of(known), log_odds(truth[known]), inputs)


def ranker(described: Floats, scores: Sequence[Floats]) -> Ranker:
    """Combine what is known without truth.

    Args:
        described: `features` of all archs, [n, columns].
        scores: of each supernet, in percent, nan where an arch has none, [n].

    Raises:
        InputError: a supernet has scored too few archs.
    """
    raw = [log_odds(each) for each in scores]
    mean, smoothed = _mean(raw), average([smooth(described, each) for each in raw])
    return Ranker(described, mean, smoothed, combine(mean, smoothed, described[:, _LOG_MACS]))


def in_percent(estimate: Estimate) -> Estimate:
    """An estimate of log odds as percentages."""
    return Estimate(percent(estimate.value), percent_error(estimate.value, estimate.error))


def _mean(scores: Sequence[Floats]) -> Floats:
    """The mean of standardised scores, on the scale of the first; nan where one is missing."""
    known = ~np.isnan(np.sum(scores, axis=0))
    mean = np.full(len(scores[0]), np.nan)
    if known.any():
        first = scores[0][known]
        mean[known] = first.mean() + first.std() * np.mean([standardised(each[known]) for each in scores], axis=0)
    return mean
