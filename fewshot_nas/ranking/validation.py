"""How well a predictor with k truths ranks archs that it has not seen: nested cross-validation.

In each of many draws, k archs are drawn, the whole predictor including its variances is fitted to
them, and it ranks all others. Rival rankings are judged on the same archs. The intervals come from
resampling archs, for both sides together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import FEWEST, interval_of, resamples_for, tau_of_weights
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.interval import UNDEFINED, Interval

DRAWS = 20
MOST_ASKED = 2_000  # archs that a predictor is judged on in a draw, if there are more

FitAndPredict = Callable[[NDArray[np.int64], NDArray[np.int64]], Floats]  # (known, wanted) rows -> values of the wanted


@dataclass(frozen=True)
class Judged:
    """A predictor's tau with k truths, on the archs without a truth, and its gain over each rival there."""

    truths: int
    tau: Interval
    gains: dict[str, Interval]


def judge(fit: FitAndPredict, truth: Floats, rivals: dict[str, Floats], truths: int, *, seed: int = 0) -> Judged:
    """Judge a predictor.

    Args:
        fit: predicts the wanted rows from the truths of the known rows; at most `MOST_ASKED` are wanted at a time.
        truth: [n].
        rivals: rankings that need no truth, [n] each.
        truths: number of known rows in each draw; 0 for a ranking that needs no truth.

    Raises:
        InputError: too few archs are left to judge the predictor by.
    """
    if len(truth) - truths < FEWEST:
        raise InputError(f"{len(truth)} truths, expected at least {truths + FEWEST} to judge a predictor with {truths}")
    weights = _multiplicities(len(truth), seed)
    taus: list[Floats] = []
    gains: dict[str, list[Floats]] = {name: [] for name in rivals}
    for known, wanted in _draws(len(truth), truths, seed):
        part = weights[:, wanted]
        mine = tau_of_weights(fit(known, wanted), truth[wanted], part)
        taus.append(mine)
        for name, values in rivals.items():
            gains[name].append(mine - tau_of_weights(values[wanted], truth[wanted], part))
    return Judged(truths, _over_draws(taus), {name: _over_draws(each) for name, each in gains.items()})


def _draws(archs: int, truths: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    rng = np.random.default_rng([seed, truths])
    for _ in range(DRAWS if truths else 1):
        order = rng.permutation(archs)
        yield np.sort(order[:truths]), np.sort(order[truths:][: MOST_ASKED if truths else None])


@lru_cache(maxsize=1)
def _multiplicities(archs: int, seed: int) -> Floats:
    """The multiplicity of each arch in each resample, after a first row of ones: [1 + resamples, archs]."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(archs, np.full(archs, 1 / archs), size=resamples_for(archs))
    return np.vstack([np.ones(archs), drawn]).astype(np.float64)


def _over_draws(each: list[Floats]) -> Interval:
    """The mean over the draws that define it, and its interval."""
    defined = [taus for taus in each if not np.isnan(taus[0])]
    if not defined:
        return UNDEFINED
    mean = np.mean(defined, axis=0)
    return interval_of(float(mean[0]), mean[1:][~np.isnan(mean[1:])])
