"""Statistics over seeds: how reliable a ground truth is, and by how much rankings of several seeds differ.

Stand-alone accuracies vary with the seed. If they vary as much with the seed as with the arch, even
a perfect score agrees with the truth only half, and a low tau says nothing against the score.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import FEWEST, Floats, correlations, interval_of, resamples_for, tau_of_weights
from fewshot_nas.ranking.interval import Interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability of a ground truth, estimated from its seeds.

    Attributes:
        archs, seeds: their numbers.
        seed_tau: Kendall's tau between two seeds, averaged over all pairs of seeds.
        half_tau: the same between the means of two disjoint halves of the seeds, averaged over all
            pairs of halves; it equals `seed_tau` for two or three seeds.
        share: the share of the variance of an arch's mean over seeds that is due to the arch. This
            is the intraclass correlation ICC(1, k) of one-way analysis of variance, or 0 if that is
            negative.
        ceiling: the tau between the archs' true means and the measured ones, if both are normally
            distributed: 2 / pi * asin(sqrt(share)).
    """

    archs: int
    seeds: int
    seed_tau: float
    half_tau: float
    share: float
    ceiling: float


def reliability(runs: Mapping[str, Sequence[float]]) -> Reliability:
    """Estimate the reliability of a ground truth from its runs.

    Args:
        runs: accuracies of each arch, one per seed; all archs have the same seeds in the same order.

    Raises:
        InputError: fewer than three archs or two seeds, or an arch with another number of seeds.
    """
    table = _table(runs)
    archs, seeds = table.shape
    between = seeds * float(np.var(table.mean(1), ddof=1))
    within = float(np.var(table, axis=1, ddof=1).mean())
    share = max(0.0, 1 - within / between) if between else 0.0
    seed_taus = [_tau(table, (one,), (other,)) for one, other in combinations(range(seeds), 2)]
    half_taus = [_tau(table, *halves) for halves in _halves(seeds)]
    ceiling = 2 / math.pi * math.asin(math.sqrt(share))
    return Reliability(archs, seeds, float(np.mean(seed_taus)), float(np.mean(half_taus)), share, ceiling)


def _table(runs: Mapping[str, Sequence[float]]) -> Floats:
    """Accuracies [archs, seeds]."""
    if len(runs) < FEWEST:
        raise InputError(f"a ground truth of {len(runs)} archs, expected at least {FEWEST}")
    seeds = max(map(len, runs.values()))
    for arch_id, accuracies in runs.items():
        if len(accuracies) != seeds:
            raise InputError(f"{arch_id} has {len(accuracies)} seeds, but another arch has {seeds}")
    if seeds < 2:
        raise InputError("every arch has one seed, expected at least two to estimate the noise")
    return np.array(list(runs.values()), dtype=np.float64)


def _halves(seeds: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All pairs of disjoint sets of half the seeds, each pair once."""
    for one in combinations(range(seeds), seeds // 2):
        for other in combinations(sorted(set(range(seeds)) - set(one)), seeds // 2):
            if one < other:
                yield one, other


def _tau(table: Floats, one: tuple[int, ...], other: tuple[int, ...]) -> float:
    return correlations(table[:, one].mean(1), table[:, other].mean(1))[0]


def tau_gain(
    ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]], truth: Mapping[str, float]
) -> Interval:
    """The mean tau of some rankings minus that of others, on the archs that all of them rank.

    Both sides are resampled together. So what they share (the archs, the noise of the truth) does
    not widen the interval of the difference.

    Args:
        ours, theirs: rankings of one method, one per seed.

    Raises:
        InputError: fewer than three archs in common.
    """
    ids = sorted(truth.keys() & set.intersection(*(set(scores) for scores in (*ours, *theirs))))
    if len(ids) < FEWEST:
        raise InputError(f"the rankings and the truth have {len(ids)} archs in common, expected at least {FEWEST}")
    y, n = np.array([truth[arch_id] for arch_id in ids]), len(ids)
    draws = np.vstack([np.arange(n), np.random.default_rng(0).integers(n, size=(resamples_for(n), n))])
    weights = np.array([np.bincount(draw, minlength=n) for draw in draws], dtype=np.float64)
    ours_tau, theirs_tau = (
        np.mean([tau_of_weights(np.array([each[arch_id] for arch_id in ids]), y, weights) for each in side], axis=0)
        for side in (ours, theirs)
    )
    gain: Floats = ours_tau - theirs_tau  # of all archs, then of each resample
    return interval_of(float(gain[0]), gain[1:][~np.isnan(gain[1:])])
