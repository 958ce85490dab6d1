"""Correlations of many archs, and how each arch moves them, in n log n steps.

With n archs there are n² / 2 pairs. Of many archs, pairs are counted by sorting instead. The influence of an arch is
the derivative of a statistic by the arch's share (Hampel, 1974): in a resample, a statistic is its value plus the
mean influence of the archs that were drawn, up to terms of the order of 1 / n. So no resample has to be ranked anew.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def influences(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Tau-b, rho and r of x and y [n], neither constant: their values [3], and each arch's influence on them [3, n]."""
    of_each = (of_tau(x, y), _of_rho(x, y), _of_r(x, y))
    return np.array([value for value, _ in of_each]), np.stack([influence for _, influence in of_each])


def concordance(x: Floats, y: Floats) -> Floats:
    """The mean over all archs j of sign(x_i - x_j) sign(y_i - y_j), for each arch i: [n]."""
    pairs = _below(x, y) + _below(-x, -y) - _below(x, -y) - _below(-x, y)
    return np.asarray(pairs / len(x), dtype=np.float64)


def _below(x: Floats, y: Floats) -> NDArray[np.int64]:
    """For each arch, the number of archs with a smaller x and a smaller y: [n].

    The archs stand in the order of x. Bit by bit of the rank by y, from the highest, they are split into those with
    0 and those with 1, as in a wavelet tree. Of two archs that share all higher bits, the one with 0 has the smaller
    y; so each arch with 1 counts those with 0 that stand before it.
    """
    ranks = np.unique(y, return_inverse=True)[1]
    where = np.lexsort((-ranks, x))  # of equal x, the larger y first, so that none counts the other
    counts = np.zeros(len(x), dtype=np.int64)
    for bit in reversed(range(int(ranks.max()).bit_length())):
        known = ranks[where] >> (bit + 1)  # ascending: archs that share the higher bits stand together
        zero = (ranks[where] >> bit) % 2 == 0
        zeros = np.concatenate([[0], np.cumsum(zero)])
        before = zeros[:-1] - zeros[np.searchsorted(known, known)]
        counts[where[~zero]] += before[~zero]
        where = where[np.argsort(ranks[where] >> bit, kind="stable")]
    return counts


def of_tau(x: Floats, y: Floats) -> tuple[float, Floats]:
    """Tau-b of x and y [n], neither constant, and each arch's influence on it [n]."""
    concordant, untied_x, untied_y = concordance(x, y), _untied(x), _untied(y)
    return _ratio(*((float(each.mean()), 2 * (each - each.mean())) for each in (concordant, untied_x, untied_y)))


def _untied(x: Floats) -> Floats:
    """The share of archs with another value, for each arch: [n]."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return np.asarray(1 - counts[inverse] / len(x), dtype=np.float64)


def _of_rho(x: Floats, y: Floats) -> tuple[float, Floats]:
    ranks_x, ranks_y = _signs_against(x, np.ones(len(x))), _signs_against(y, np.ones(len(y)))

    def moment(a: Floats, by_a: Floats, b: Floats, by_b: Floats) -> tuple[float, Floats]:
        """The mean product of centred ranks. An arch moves it by its own ranks, and by the ranks of all others."""
        mean = float((a * b).mean())
        return mean, a * b - _signs_against(by_a, b) - _signs_against(by_b, a) - 3 * mean

    sides = ((ranks_x, x, ranks_y, y), (ranks_x, x, ranks_x, x), (ranks_y, y, ranks_y, y))
    return _ratio(*(moment(*side) for side in sides))


def _signs_against(x: Floats, values: Floats) -> Floats:
    """The mean over all archs j of sign(x_i - x_j) values_j, for each arch i: [n]."""
    _, inverse = np.unique(x, return_inverse=True)
    sums = np.bincount(inverse, weights=values)
    below = np.cumsum(sums) - sums
    return np.asarray((below - (sums.sum() - below - sums))[inverse] / len(x), dtype=np.float64)


def _of_r(x: Floats, y: Floats) -> tuple[float, Floats]:
    a, b = ((each - each.mean()) / each.std() for each in (x, y))
    r = float((a * b).mean())
    return r, a * b - r / 2 * (a**2 + b**2)


def _ratio(joint: tuple[float, Floats], one: tuple[float, Floats], other: tuple[float, Floats]) -> tuple[float, Floats]:
    """A moment over the root of two others, with its influences."""
    scale = (one[0] * other[0]) ** 0.5
    value = joint[0] / scale
    return value, joint[1] / scale - value / 2 * (one[1] / one[0] + other[1] / other[0])
