"""Which archs to score, or to train alone next: those that tell most about all others."""

from collections.abc import Mapping, Sequence

import numpy as np

from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.features import features, standardised
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace

NOISE = 0.5  # of a truth, in variances that one standardised column explains a priori


def spread(columns: Floats, count: int) -> list[int]:
    """Rows that lie far apart: first the most central one, then always the farthest from all before it.

    A larger choice begins with the smaller one (Gonzalez, Theor. Comput. Sci. 38, 1985).

    Args:
        columns: standardised, [n, any]; distances are Euclidean.
    """
    if not 0 <= count <= len(columns):
        raise ValueError(f"{count} of {len(columns)} rows")
    nearest = -_distances(columns, columns.mean(0))  # the first choice: the farthest from being far
    chosen: list[int] = []
    for number in range(count):
        chosen.append(int(nearest.argmax()))
        new = _distances(columns, columns[chosen[-1]])
        nearest = np.minimum(nearest, new) if number else new
        nearest[chosen] = -1
    return chosen


def sample(space: SearchSpace, pool: Mapping[str, Arch], count: int) -> set[str]:
    """The ids of `count` archs of a pool, spread over depths, widths and costs.

    They follow from the pool and the space alone, and a larger sample contains the smaller ones.
    """
    ids = list(pool)
    return {ids[row] for row in spread(standardised(features(space, pool.values())), count)}


def suggest(columns: Floats, count: int, known: Sequence[int] = ()) -> list[int]:
    """Rows whose truth would reduce the variance of all rows' predictions most, chosen one by one.

    The predictions are a linear Gaussian model's, of which a truth's value changes nothing but the
    mean, so that no value has to be known. If A is the covariance of its coefficients and M the sum
    of xx' over all rows, a truth at x takes x'AMAx / (x'Ax + noise) away (I-optimal design).

    Args:
        columns: `predictor.inputs` of all archs, [n, columns].
        known: rows that have a truth already; never suggested.
    """
    extended = np.hstack([columns, np.ones((len(columns), 1))])
    everywhere = extended.T @ extended
    covariance = np.eye(extended.shape[1])
    for row in known:
        covariance = _after(covariance, extended[row])
    taken = list(known)
    for _ in range(min(count, len(columns) - len(set(known)))):
        gains = _gains(extended, covariance, everywhere)
        gains[taken] = -1
        taken.append(int(gains.argmax()))
        covariance = _after(covariance, extended[taken[-1]])
    return taken[len(known) :]


def _distances(columns: Floats, point: Floats) -> Floats:
    """Squared distances, [n]."""
    squares: Floats = ((columns - point) ** 2).sum(1)
    return squares


def _gains(columns: Floats, covariance: Floats, everywhere: Floats) -> Floats:
    """What a truth at each row takes from the sum of all rows' variances, [n]."""
    towards = columns @ covariance
    reduced: Floats = np.einsum("np,pq,nq->n", towards, everywhere, towards, optimize=True)
    gains: Floats = reduced / ((towards * columns).sum(1) + NOISE)
    return gains


def _after(covariance: Floats, row: Floats) -> Floats:
    """The coefficients' covariance when a row's truth is known."""
    along = covariance @ row
    left: Floats = covariance - np.outer(along, along) / (float(row @ along) + NOISE)
    return left
