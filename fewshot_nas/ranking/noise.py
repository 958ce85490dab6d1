"""What the seeds' noise leaves: how reliable a ground truth is, the largest tau that can be expected, and an oracle's.

Stand-alone accuracies vary with the seed. If they vary as much with the seed as with the arch, even
a perfect score agrees with the truth only half, and a low tau says nothing against the score.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import FEWEST, correlations
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.strata import Groups, Regret, everything, plain_tau, regret


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


_DRAWS = 100
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


def oracle(runs: Floats, groups: Groups, *, seed: int = 0) -> Oracle:
    """Simulate it.

    Args:
        runs: accuracies in percent, [n, seeds].
        groups: the archs of each class of cost.
    """
    nothing = np.full(len(groups), np.nan)
    if runs.shape[1] < 2:
        return Oracle(np.nan, np.nan, Regret(nothing, nothing))
    true, noise = _split(runs, groups or everything(len(runs)))
    rng = np.random.default_rng(seed)
    whole, equal, losses = [], [], []
    for draw in range(_DRAWS):
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
