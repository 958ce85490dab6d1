"""Tau at equal cost, the mean of tau within classes of multiply-adds; and the regret of going by a ranking there.

A search looks for the best arch within bounds, so it compares archs that cost about the same. A ranking that only
counts orders the whole table well, and tells next to nothing there.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.ranking.correlation import FEWEST, interval_of, resamples_for, tau_of_weights
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.interval import SIGNED, UNDEFINED, Interval, aligned

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
def resamples(archs: int, seed: int = 0) -> Floats:
    """The multiplicities of the archs in each resample, after a first row of ones: [1 + resamples, archs]."""
    drawn = np.random.default_rng(seed).multinomial(archs, np.full(archs, 1 / archs), size=resamples_for(archs))
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
    """As `taus`, of the archs as they are."""
    return float(taus(x, y, groups, np.ones((1, len(x))))[0])


def interval(rows: Floats) -> Interval:
    """The interval of a statistic of all archs, the first of its values, from those in the resamples, the others."""
    value, resampled = float(rows[0]), rows[1:]
    return UNDEFINED if np.isnan(value) else interval_of(value, resampled[~np.isnan(resampled)])


def equal_cost(rankings: Mapping[str, Floats], truth: Floats, macs: Floats) -> dict[str, Interval]:
    """Each ranking's tau at equal cost, by name, over the archs that have both; empty if there are too few for classes.

    Args:
        rankings: nan where a ranking has no value, [n] each.
        truth: nan where there is none, [n].
        macs: [n].
    """
    found = {}
    for name, values in rankings.items():
        known = ~np.isnan(truth) & ~np.isnan(values)
        if groups := by_cost(macs[known]):
            weights = resamples(int(known.sum()))
            found[name] = interval(taus(values[known], truth[known], groups, weights))
    return found


def equal_cost_lines(found: Mapping[str, Interval]) -> str:
    """What `equal_cost` found, as aligned text; empty if that is nothing."""
    lines = aligned([[name, each.text(SIGNED)] for name, each in found.items()])
    return "\n".join(["at equal cost (the mean tau within classes of multiply-adds):", *lines] if lines else [])


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
