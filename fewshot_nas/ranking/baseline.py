"""The ranker without scores that a supernet is compared with: a ridge on widths, kernels and costs, fitted to k truths.

What a supernet is worth is the number of networks that this ranker has to see trained to rank as well.
"""

import math
from collections.abc import Iterable

import numpy as np

from fewshot_nas.ranking.features import block_numbers, standardised
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.strata import Groups, plain_tau
from fewshot_nas.space.space import Arch, Space

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


def curve(columns: Floats, truth: Floats, groups: Groups, *, seed: int = 0) -> dict[int, tuple[float, float]]:
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
            order = np.random.default_rng([seed, size, draw]).permutation(len(truth))
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
