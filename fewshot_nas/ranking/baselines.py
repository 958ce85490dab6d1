"""What rankings are measured with: tau and regret at equal cost, a ranker without scores, what the seeds' noise allows.

Tau at equal cost is the mean of tau within classes of multiply-adds. A search looks for the best arch within bounds,
so it compares archs that cost about the same. A ranking that only counts orders the whole table well, and these archs
hardly at all.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.ranking.correlation import FEWEST, Floats, interval_of, resamples_for, tau_of_weights
from fewshot_nas.ranking.features import block_numbers, standardised
from fewshot_nas.ranking.interval import UNDEFINED, Interval
from fewshot_nas.space.space import Arch, Space

Groups: TypeAlias = Sequence[NDArray[np.int64]]  # the numbers of the archs of each class

MOST_GROUPS = 10
IN_GROUP = 10  # archs, at least; of fewer archs there are fewer classes


def by_cost(macs: Floats) -> Groups:
    """The archs of each class of multiply-adds, from cheap to dear: deciles, or fewer classes of few archs.

    Archs of the same cost are in the same class. There is no class if there are too few archs for two, or if all
    cost the same.
    """
    count = min(MOST_GROUPS, len(macs) // IN_GROUP)
    if count < 2:
        return ()
    bounds = np.quantile(macs, np.arange(1, count) / count)
    number = np.searchsorted(bounds, macs, side="right")
    groups = [np.flatnonzero(number == each) for each in range(count)]
    groups = [group for group in groups if len(group) >= FEWEST]
    return groups if len(groups) > 1 else ()


def everything(archs: int) -> Groups:
    """One class of all archs."""
    return [np.arange(archs)]


@lru_cache(maxsize=1)
def resamples(archs: int) -> Floats:
    """The multiplicities of the archs in each resample, after a first row of ones: [1 + resamples, archs]."""
    drawn = np.random.default_rng(0).multinomial(archs, np.full(archs, 1 / archs), size=resamples_for(archs))
    return np.vstack([np.ones(archs), drawn]).astype(np.float64)


def taus(x: Floats, y: Floats, groups: Groups, weights: Floats) -> Floats:
    """The mean over classes of tau-b of x and y [n] in each resample; classes without one are left out, [resamples].

    Args:
        weights: the archs' multiplicities, [resamples, n].
    """
    each = [tau_of_weights(x[group], y[group], weights[:, group]) for group in groups if len(group) >= FEWEST]
    if not each:
        return np.full(len(weights), np.nan)
    known = ~np.isnan(each)
    counts = known.sum(0)
    sums = np.where(known, each, 0).sum(0)
    means: Floats = np.divide(sums, counts, out=np.full(len(weights), np.nan), where=counts > 0)
    return means


def plain_tau(x: Floats, y: Floats, groups: Groups) -> float:
    """The mean over classes of tau-b of x and y [n]; classes without one are left out."""
    return float(taus(x, y, groups, np.ones((1, len(x))))[0])


def interval(rows: Floats) -> Interval:
    """The interval of a statistic of all archs, the first of its values, from those in the resamples, the others."""
    value, resampled = float(rows[0]), rows[1:]
    return UNDEFINED if np.isnan(value) else interval_of(value, resampled[~np.isnan(resampled)])


TEN = 10


class Regret(NamedTuple):
    """The best accuracy of a class less the accuracy of an arch that a ranking finds, in points, [classes].

    Attributes:
        first: of the arch that is predicted to be the best.
        ten: of the best of the ten that are.
    """

    first: Floats
    ten: Floats


def regret(values: Floats, truth: Floats, groups: Groups) -> Regret:
    """The regret in each class; of archs with equal values, those that come first count as better.

    Args:
        values: the ranking, [n].
        truth: in percent, [n].
    """
    found = [truth[group[np.argsort(-values[group], kind="stable")[:TEN]]] for group in groups]
    best = np.array([truth[group].max() for group in groups])
    first, ten = (np.array([pick(each) for each in found]) for pick in (lambda each: each[0], np.max))
    return Regret(best - first, best - ten)


# ---- the ranker without scores: a ridge on widths, kernels and costs, fitted to k truths -----------------------------
#
# What a supernet is worth is the number of networks that this ranker has to see trained to rank as well.

SIZES = (5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)  # numbers of truths
LEFT = 10  # archs, at least, that a fit is judged by
_ASKED = 2_000  # archs that a fit is judged by, if there are more
_PENALTY, _OF_EACH = 3.0, 0.01  # of standardised columns: a constant, and a share of the number of truths
_DRAWS, _FEW_DRAWS = 20, 6  # fits of up to 100 truths, which differ by chance, and of more


def described(space: Space, archs: Iterable[Arch]) -> Floats:
    """The logarithms of the widths and kernels at each place of the archs; 0 where there is no block. [archs, columns].

    Columns that are constant, or equal to another one up to their scale, are left out.
    """
    columns = np.array([block_numbers(space, arch) for arch in archs], dtype=np.float64)
    columns = columns[:, columns.min(0) < columns.max(0)]
    first = np.unique(standardised(columns).round(9), axis=1, return_index=True)[1]
    return columns[:, np.sort(first)]


def fitted(columns: Floats, truth: Floats, wanted: Floats) -> Floats:
    """Values by which a ridge regression ranks the wanted archs, [n].

    Args:
        columns, truth: of the archs whose truth is known, [k, columns] and [k].
        wanted: [n, columns].
    """
    mean, spread = columns.mean(0), columns.std(0)
    spread[spread == 0] = 1
    known = (columns - mean) / spread
    penalty = (_PENALTY + _OF_EACH * len(truth)) * np.eye(known.shape[1])
    slopes = np.linalg.solve(known.T @ known + penalty, known.T @ (truth - truth.mean()))
    return np.asarray((wanted - mean) / spread @ slopes, dtype=np.float64)


def curve(columns: Floats, truth: Floats, groups: Groups) -> dict[int, tuple[float, float]]:
    """For each number of truths, the mean tau on other archs: of all of them, and at equal cost.

    Args:
        columns, truth: of all archs, [n, columns] and [n].
        groups: the archs of each class of cost.
    """
    of = np.zeros(len(truth), dtype=np.int64)
    for number, group in enumerate(groups):
        of[group] = number
    found = {}
    for size in (size for size in SIZES if size <= len(truth) - LEFT):
        taus = []
        for draw in range(_DRAWS if size <= 100 else _FEW_DRAWS):
            order = np.random.default_rng([0, size, draw]).permutation(len(truth))
            known, wanted = order[:size], order[size:][:_ASKED]
            values = fitted(columns[known], truth[known], columns[wanted])
            parts = [np.flatnonzero(of[wanted] == number) for number in range(len(groups))]
            whole = plain_tau(values, truth[wanted], [np.arange(len(wanted))])
            taus.append((whole, plain_tau(values, truth[wanted], parts)))
        found[size] = (_mean([whole for whole, _ in taus]), _mean([equal for _, equal in taus]))
    return found


def _mean(values: list[float]) -> float:
    """The mean of those that are defined; nan if none is."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def worth(tau: float, reached: dict[int, float]) -> float:
    """How many truths the ranker without scores needs for a tau, between its numbers by their logarithm.

    Args:
        reached: its tau by the number of truths.

    Returns:
        0 below its smallest number, infinity above its largest, nan where either side is undefined.

    >>> round(worth(0.6, {10: 0.5, 100: 0.7}), 1)
    31.6
    """
    known = {size: value for size, value in reached.items() if not math.isnan(value)}
    if math.isnan(tau) or not known:
        return math.nan
    taus = np.maximum.accumulate(list(known.values()))
    if tau < taus[0]:
        return 0.0
    if tau > taus[-1]:
        return math.inf
    return float(np.exp(np.interp(tau, taus, np.log(list(known)))))


# ---- what the seeds' noise leaves: a ranking that knows every accuracy without it agrees with no truth wholly -------
#
# If accuracies vary as much with the seed as with the arch, a low tau says nothing against a score.

_SIMULATED = 100
_ORDERED = 20_000  # archs that are put in order by the measured accuracies of the draws, about


@dataclass(frozen=True)
class Oracle:
    """What a ranking reaches that knows every network's accuracy without noise.

    Attributes:
        whole, equal_cost: its tau; nan if the truth has one seed.
        regret: its regret in each class of cost, [classes]; nan if the truth has one seed.
    """

    whole: float
    equal_cost: float
    regret: Regret


def oracle(runs: Floats, groups: Groups) -> Oracle:
    """Simulate it.

    Args:
        runs: accuracies in percent, [n, seeds].
        groups: the archs of each class of cost.
    """
    nothing = np.full(len(groups), np.nan)
    if runs.shape[1] < 2:
        return Oracle(np.nan, np.nan, Regret(nothing, nothing))
    true, noise = _split(runs, groups or everything(len(runs)))
    rng = np.random.default_rng(0)
    whole, equal, losses = [], [], []
    for draw in range(_SIMULATED):
        measured = true + noise * rng.normal(size=len(true))
        losses.append(regret(true, measured, groups))
        if draw < max(4, _ORDERED // len(true)):
            whole.append(plain_tau(true, measured, everything(len(true))))
            equal.append(plain_tau(true, measured, groups))
    means = [np.mean([getattr(each, name) for each in losses], axis=0) for name in Regret._fields]
    return Oracle(float(np.mean(whole)), float(np.mean(equal)), Regret(*means))


def _split(runs: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """An accuracy without noise for each arch, and the standard deviation of the noise in its mean: [n] each."""
    means, noise = runs.mean(1), np.empty(len(runs))
    true = means.copy()
    for group in groups:
        of_mean = float(np.var(runs[group], axis=1, ddof=1).mean()) / runs.shape[1]
        spread = float(np.var(means[group], ddof=1))
        kept = max(0.0, 1 - of_mean / spread) ** 0.5 if spread else 0.0
        true[group] = means[group].mean() + kept * (means[group] - means[group].mean())
        noise[group] = of_mean**0.5
    return true, noise
