"""How far a ground truth can be trusted, and the tau that no score can be expected to exceed.

Stand-alone accuracies vary with the seed. Where they vary as much with the seed as with the arch,
even a perfect score agrees with the truth by half, and a low tau says nothing against it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fewshot_nas.errors import InputError
from fewshot_nas.ranking.correlation import FEWEST, Floats, correlations


@dataclass(frozen=True, slots=True)
class Reliability:
    """What the seeds of a ground truth say of it.

    Attributes:
        archs, seeds: how many.
        seed_tau: Kendall's tau between two seeds, the mean over all pairs of them.
        half_tau: the same between the means of two disjoint halves of the seeds (the left-out
            one of an odd number changes); it is `seed_tau` for two or three seeds.
        share: of the variance of an arch's mean over seeds that is due to the arch: the intraclass
            correlation ICC(1, k) of one-way analysis of variance, 0 where it comes out negative.
        ceiling: the tau of the archs' true means with the ones measured, if both are normally
            distributed: 2 / pi * asin(sqrt(share)).
    """

    archs: int
    seeds: int
    seed_tau: float
    half_tau: float
    share: float
    ceiling: float


def reliability(runs: Mapping[str, Sequence[float]]) -> Reliability:
    """Judge a ground truth by its runs.

    Args:
        runs: accuracies of each arch, one per seed and the same seeds in the same order for all.

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
            raise InputError(f"{arch_id} has {len(accuracies)} seeds, expected {seeds} as another arch has")
    if seeds < 2:
        raise InputError("every arch has one seed, expected at least two to tell their noise")
    return np.array(list(runs.values()), dtype=np.float64)


def _halves(seeds: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All pairs of disjoint sets of half the seeds, each pair once."""
    for one in combinations(range(seeds), seeds // 2):
        for other in combinations(sorted(set(range(seeds)) - set(one)), seeds // 2):
            if one < other:
                yield one, other


def _tau(table: Floats, one: tuple[int, ...], other: tuple[int, ...]) -> float:
    return correlations(table[:, one].mean(1), table[:, other].mean(1))[0]
