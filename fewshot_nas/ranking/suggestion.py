"""Which archs to score, or to train stand-alone next: those that say most about all others."""

from collections.abc import Mapping, Sequence

import numpy as np

from fewshot_nas.ranking.features import features, standardised
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.space.space import Arch, Space

NOISE = 0.5  # variance of a truth's noise, relative to what one standardised column explains a priori


def spread(columns: Floats, count: int) -> list[int]:
    """Rows that lie far apart: first the most central one, then each time the one farthest from all chosen ones.

    A larger choice begins with the smaller one (Gonzalez, Theor. Comput. Sci. 38, 1985).

    Args:
        columns: standardised, [n, any]; distances are Euclidean.
    """
    if not 0 <= count <= len(columns):
        raise ValueError(f"{count} of {len(columns)} rows")
    nearest = -_distances(columns, columns.mean(0))  # the first choice is the row closest to the mean
    chosen: list[int] = []
    for number in range(count):
        chosen.append(int(nearest.argmax()))
        new = _distances(columns, columns[chosen[-1]])
        nearest = np.minimum(nearest, new) if number else new
        nearest[chosen] = -1
    return chosen


def sample(space: Space, pool: Mapping[str, Arch], count: int) -> set[str]:
    """The ids of `count` archs of a pool, spread over depths, widths and costs.

    The sample depends on the pool and the space only, and a larger sample contains the smaller ones.
    """
    ids = list(pool)
    return {ids[row] for row in spread(standardised(features(space, pool.values())), count)}


def suggest(columns: Floats, count: int, known: Sequence[int] = ()) -> list[int]:
    """The rows whose truth would reduce the variance of all predictions most, chosen one by one.

    The predictions are those of a linear Gaussian model. Its variances do not depend on the values
    of the truths, so no value has to be known. If A is the covariance of the coefficients and M the
    sum of xx' over all rows, a truth at x reduces the sum of variances by x'AMAx / (x'Ax + noise)
    (I-optimal design).

    Args:
        columns: `predictor.inputs` of all archs, [n, columns].
        known: rows that already have a truth; they are never suggested.
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
    squares: Floats = ((columns - point) ** 2).sum(1)
    return squares


def _gains(columns: Floats, covariance: Floats, everywhere: Floats) -> Floats:
    """By how much a truth at each row would reduce the sum of all variances, [n]."""
    towards = columns @ covariance
    reduced: Floats = np.einsum("np,pq,nq->n", towards, everywhere, towards, optimize=True)
    gains: Floats = reduced / ((towards * columns).sum(1) + NOISE)
    return gains


def _after(covariance: Floats, row: Floats) -> Floats:
    """The covariance of the coefficients once a row's truth is known."""
    along = covariance @ row
    left: Floats = covariance - np.outer(along, along) / (float(row @ along) + NOISE)
    return left
