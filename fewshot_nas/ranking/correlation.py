"""How well scores rank archs, with confidence intervals.

With thirty archs, the standard error of tau is about 0.13. So every correlation comes with its
bootstrap interval, and is compared with simple proxies that a supernet has to beat.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import SIGNED, Interval, aligned, shown
from fewshot_nas.space.space import Arch, Space

Floats = NDArray[np.float64]

FEWEST = 3
TELLING = 20  # archs; from fewer, a bootstrap interval promises more than it can hold
PAIRWISE_LIMIT = 500  # archs; of more of them, resamples are taken from influences instead of from all pairs
RESAMPLES, LARGE_RESAMPLES = 1000, 200


@dataclass(frozen=True, slots=True)
class Correlation:
    """Correlations of scores with the truth over `n` archs, and the number of tied pairs on each side."""

    n: int
    score_ties: int
    truth_ties: int
    kendall: Interval
    spearman: Interval
    pearson: Interval


def correlate(
    scores: Mapping[str, float], truth: Mapping[str, float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Correlation:
    """Kendall's tau-b, Spearman's rho and Pearson's r over the archs that have both a score and a truth.

    The intervals are percentile bootstraps over archs: an arch's score and truth are drawn together.
    A resample in which one side is constant has no correlation and is left out. Of more than
    `PAIRWISE_LIMIT` archs, at most `LARGE_RESAMPLES` are drawn, and each is linear in the archs' influences.

    Args:
        resamples: number of resamples; with 0 the intervals are undefined.

    Raises:
        InputError: fewer than three archs in common, or a value that is not finite.
    """
    ids = sorted(scores.keys() & truth.keys())
    if len(ids) < FEWEST:
        raise InputError(
            f"scores ({len(scores)} archs) and truth ({len(truth)} archs) have {len(ids)} archs in common, "
            f"expected at least {FEWEST}; do both use the same arch ids?"
        )
    x, y = _column("score", scores, ids), _column("truth", truth, ids)
    draws = np.random.default_rng(seed).integers(len(ids), size=(resamples_for(len(ids), resamples), len(ids)))
    resampled = correlations_of_draws(x, y, draws)
    kendall, spearman, pearson = map(interval_of, correlations(x, y), resampled.T)
    return Correlation(len(ids), _tied_pairs(x), _tied_pairs(y), kendall, spearman, pearson)


def resamples_for(archs: int, most: int = RESAMPLES) -> int:
    """The number of resamples for so many archs."""
    return most if archs <= PAIRWISE_LIMIT else min(most, LARGE_RESAMPLES)


def correlations(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Tau-b, rho and r of x [n] and y [n]; nan if one of them is constant."""
    kendall, spearman, pearson = map(float, _of_weights(x, y, np.ones((1, len(x))))[0])
    return kendall, spearman, pearson


def correlations_of_draws(x: Floats, y: Floats, draws: NDArray[np.int64]) -> Floats:
    """`correlations(x[draw], y[draw])` of each draw for which they are defined: [at most resamples, 3].

    Args:
        x, y: [n].
        draws: indices of the archs in each resample, [resamples, n].
    """
    each = _of_weights(x, y, _multiplicities(draws))
    defined: Floats = each[~np.isnan(each[:, 0])]
    return defined


def tau_of_weights(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Tau-b of x and y [n] in each resample, where row r of `weights` [resamples, n] has the archs' multiplicities.

    It is nan where it is undefined.
    """
    if _constant(x) or _constant(y):
        return np.full(len(weights), np.nan)
    if len(x) > PAIRWISE_LIMIT:
        value, of_archs = of_tau(x, y)
        return np.asarray(value + weights @ of_archs / weights.sum(1), dtype=np.float64)
    return _kendall(_signs(x), _signs(y), weights)


def proxies(
    space: Space, archs: Mapping[str, Arch], *, resolution: int | None = None, num_classes: int = 1000
) -> dict[str, dict[str, float]]:
    """Scores that need no training: 'depth' (total number of blocks), 'params' and 'macs', each by arch id.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    costs = {
        arch_id: space.cost(arch, resolution=resolution, num_classes=num_classes) for arch_id, arch in archs.items()
    }
    return {
        "depth": {arch_id: float(space.depth(arch)) for arch_id, arch in archs.items()},
        "params": {arch_id: float(cost.params) for arch_id, cost in costs.items()},
        "macs": {arch_id: float(cost.macs) for arch_id, cost in costs.items()},
    }


def correlation_table(rows: Mapping[str, Correlation]) -> str:
    """Named correlations as aligned text, one per line; ties are those of the scores / of the truth."""
    header = ["score", "n", "ties", "tau [95 %]", "Spearman", "Pearson"]
    lines = [header, *([name, *_cells(row)] for name, row in rows.items())]
    return "\n".join(aligned(lines))


def _of_weights(x: Floats, y: Floats, weights: Floats) -> Floats:
    """The three correlations in each resample, [resamples, 3]; nan where a side is constant.

    Of few archs they come from the multiplicities of archs and the signs of all differences. With multiplicities w and
    sign matrices S, T, tau-b is w'(S*T)w / sqrt(w'|S|w w'|T|w), and S w is twice the archs' centred mid-ranks in
    the resample, so that nothing is sorted anew. Of many archs they come from the archs' influences.
    """
    if _constant(x) or _constant(y):
        return np.full((len(weights), 3), np.nan)
    if len(x) > PAIRWISE_LIMIT:
        values, of_archs = influences(x, y)
        return np.asarray(values + weights @ of_archs.T / weights.sum(1, keepdims=True), dtype=np.float64)
    signs_x, signs_y = _signs(x), _signs(y)
    kendall = _kendall(signs_x, signs_y, weights)
    weights = np.where(np.isnan(kendall)[:, None], np.nan, weights)
    spearman = _cosine(weights, weights @ signs_x, weights @ signs_y)
    pearson = _cosine(weights, _centred(weights, x), _centred(weights, y))
    return np.stack([kendall, spearman, pearson], axis=1)


def _signs(x: Floats) -> Floats:
    """The signs of all differences, [n, n]."""
    signs: Floats = np.sign(np.subtract.outer(x, x))
    return signs


def _kendall(signs_x: Floats, signs_y: Floats, weights: Floats) -> Floats:
    untied = _quadratic(np.abs(signs_x), weights) * _quadratic(np.abs(signs_y), weights)
    concordant = _quadratic(signs_x * signs_y, weights)
    return np.divide(concordant, np.sqrt(untied), out=np.full_like(untied, np.nan), where=untied > 0)


def _multiplicities(draws: NDArray[np.int64]) -> Floats:
    """The multiplicity of each arch in each resample: [resamples, n]."""
    resamples, n = draws.shape
    cells = draws + n * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=draws.size).reshape(draws.shape).astype(np.float64)


def _quadratic(matrix: Floats, weights: Floats) -> Floats:
    """w'Mw of each row w: [resamples]."""
    values: Floats = np.einsum("rn,rn->r", weights @ matrix, weights)
    return values


def _centred(weights: Floats, x: Floats) -> Floats:
    """x minus its mean in each resample: [resamples, n]."""
    return x - (weights @ x)[:, None] / len(x)


def _cosine(weights: Floats, a: Floats, b: Floats) -> Floats:
    """Correlation, in each resample, of a and b [resamples, n], both centred."""
    ab, aa, bb = (np.einsum("rn,rn,rn->r", weights, left, right) for left, right in ((a, b), (a, a), (b, b)))
    values: Floats = np.clip(ab / np.sqrt(aa) / np.sqrt(bb), -1, 1)
    return values


def interval_of(value: float, resampled: Floats) -> Interval:
    """The interval of a statistic from its values in the resamples that define it."""
    if len(resampled) < 2:
        return Interval(value, np.nan, np.nan, np.nan)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(value, float(low), float(high), float(np.std(resampled, ddof=1)))


def _column(side: str, values: Mapping[str, float], ids: list[str]) -> Floats:
    column = np.array([values[arch_id] for arch_id in ids], dtype=np.float64)
    for arch_id, value in zip(ids, column, strict=True):
        if not np.isfinite(value):
            raise InputError(f"{arch_id}: {side} is {value}, expected a finite number")
    return column


def _constant(x: Floats) -> bool:
    return bool(x.min() == x.max())


def _tied_pairs(x: Floats) -> int:
    counts = np.unique(x, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _cells(row: Correlation) -> list[str]:
    beside = (shown(each.value, SIGNED) for each in (row.spearman, row.pearson))
    return [str(row.n), f"{row.score_ties}/{row.truth_ties}", row.kendall.text(SIGNED), *beside]


# ---- of many archs: correlations, and how each arch moves them, in n log n steps ------------------------------------
#
# With n archs there are n² / 2 pairs. Of many archs, pairs are counted by sorting instead. The influence of an arch is
# the derivative of a statistic by the arch's share (Hampel, 1974): in a resample, a statistic is its value plus the
# mean influence of the archs that were drawn, up to terms of the order of 1 / n. So no resample has to be ranked anew.


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
