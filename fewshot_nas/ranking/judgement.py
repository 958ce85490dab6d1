"""Predictions judged by a truth: tau, its gain over counting, what noise leaves of it, and what it is worth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.baseline import curve, worth
from fewshot_nas.ranking.correlation import FEWEST
from fewshot_nas.ranking.influence import Floats
from fewshot_nas.ranking.interval import UNDEFINED, Interval, merit
from fewshot_nas.ranking.strata import Groups, Regret, by_cost, everything, interval, plain_tau, regret, resamples, taus
from fewshot_nas.ranking.truth import MACS, Truth

SEED, RIDGE = "one seed against the others", "ridge without scores, {} truths"


@dataclass(frozen=True)
class Order:
    """How well a ranking orders networks, all of them or those of equal cost.

    Attributes:
        gain: tau minus that of the best count.
        share: tau as a share of what the seeds' noise allows; nan if that is not known.
        worth: how many networks the ranker without scores has to see trained for the same tau, for the tau and for
            the ends of its interval; 0 and infinity stand for less and more than it was tried with.
    """

    tau: Interval
    gain: Interval
    share: float = math.nan
    worth: tuple[float, float, float] = (math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Verdict:
    """One ranking: on all networks, at equal cost, on the half with the better truths, and what it loses."""

    whole: Order
    equal_cost: Order
    upper_half: Interval
    regret: Regret


@dataclass(frozen=True)
class Judgement:
    """Rankings judged by the same networks.

    Attributes:
        truth: its name.
        networks: the number of those that are judged by.
        predicted, counts: verdicts by name.
        best: the best count for all networks, and at equal cost; None if no count has a tau.
        classes: the number of networks in each class of cost, the largest multiply-adds in it, and the best truth.
        ceiling: what the seeds' noise allows: tau, and tau at equal cost.
        oracle: the regret of a ranking without noise.
        seed: the tau of one seed against the mean of the others, whole and at equal cost, as a mean over seeds.
        ridge: the tau of the ranker without scores by its number of truths, whole and at equal cost.
        training: images times multiply-adds of one of the truth's trainings, as a mean; nan if that is not known.
    """

    truth: str
    networks: int
    predicted: Mapping[str, Verdict]
    counts: Mapping[str, Verdict]
    best: tuple[str | None, str | None]
    classes: Sequence[tuple[int, float, float]]
    ceiling: tuple[float, float]
    oracle: Regret
    seed: tuple[float, float]
    ridge: Mapping[int, tuple[float, float]]
    training: float

    def values(self) -> dict[str, Any]:
        """As JSON holds it: null where a number is not defined; 0 and null for a worth beyond what was tried."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Verdict | Order | Interval):
        return {key: _plain(each) for key, each in asdict(value).items()}
    if isinstance(value, Regret):
        return {key: _plain(each) for key, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judge(predictions: Mapping[str, Floats], truth: Truth) -> Judgement:
    """Judge predictions by the networks that all of them have a value for.

    Args:
        predictions: by name, nan where there is none, [n] each in the truth's order.

    Raises:
        InputError: fewer than three networks are left.
    """
    rows = np.flatnonzero(~np.isnan(np.sum([np.zeros(len(truth.keys)), *predictions.values()], axis=0)))
    if len(rows) < FEWEST:
        raise InputError(f"{len(rows)} networks of {truth.name} have a prediction, expected at least {FEWEST}")
    accuracy, macs, runs = truth.accuracy[rows], truth.counts[MACS][rows], truth.runs[rows]
    groups = by_cost(macs)
    ridge = curve(truth.described[rows], accuracy, groups)
    known = oracle(runs, groups)
    bench = _Bench(accuracy, groups, resamples(len(rows)), (known.whole, known.equal_cost), ridge)
    counts = {name: bench.sample(values[rows]) for name, values in truth.counts.items()}
    best = tuple(_best({name: each[number] for name, each in counts.items()}) for number in range(2))
    rivals = tuple(counts[name][number] if name else None for number, name in enumerate(best))
    return Judgement(
        truth.name,
        len(rows),
        {name: bench.verdict(values[rows], bench.sample(values[rows]), rivals) for name, values in predictions.items()},
        {name: bench.verdict(truth.counts[name][rows], taken, rivals) for name, taken in counts.items()},
        (best[0], best[1]),
        [(len(group), float(macs[group].max()), float(accuracy[group].max())) for group in groups],
        bench.ceiling,
        known.regret,
        _seed(runs, groups),
        ridge,
        truth.images * float(macs.mean()) if truth.images else math.nan,
    )


def _best(samples: Mapping[str, Floats]) -> str | None:
    name = max(samples, key=lambda each: merit(float(samples[each][0])))
    return None if np.isnan(samples[name][0]) else name


def _seed(runs: Floats, groups: Groups) -> tuple[float, float]:
    """The tau of one seed against the mean of the others; nan if there is only one."""
    seeds = runs.shape[1]
    if seeds < 2:
        return math.nan, math.nan
    found = [
        [plain_tau(runs[:, seed], np.delete(runs, seed, 1).mean(1), parts) for parts in (everything(len(runs)), groups)]
        for seed in range(seeds)
    ]
    whole, equal = np.mean(found, axis=0)
    return float(whole), float(equal)


@dataclass(frozen=True)
class _Bench:
    """What all rankings are judged by: truths [n], classes of cost, resamples, ceilings, and the ridge's taus."""

    accuracy: Floats
    groups: Groups
    weights: Floats
    ceiling: tuple[float, float]
    ridge: Mapping[int, tuple[float, float]]

    def sample(self, values: Floats) -> tuple[Floats, Floats]:
        """Tau of all networks, and tau at equal cost, in each resample."""
        parts = (everything(len(values)), self.groups)
        whole, equal = (taus(values, self.accuracy, groups, self.weights) for groups in parts)
        return whole, equal

    def verdict(self, values: Floats, taken: tuple[Floats, Floats], rivals: Sequence[Floats | None]) -> Verdict:
        whole, equal = (self._order(number, taken[number], rivals[number]) for number in range(2))
        return Verdict(whole, equal, self._upper(values), regret(values, self.accuracy, self.groups))

    def _order(self, number: int, rows: Floats, rival: Floats | None) -> Order:
        tau = interval(rows)
        reached = {size: taken[number] for size, taken in self.ridge.items()}
        worths = [worth(each, reached) for each in (tau.value, tau.low, tau.high)]
        ceiling = self.ceiling[number]
        share = tau.value / ceiling if ceiling > 0 else math.nan
        gain = UNDEFINED if rival is None else interval(rows - rival)
        return Order(tau, gain, share, (worths[0], worths[1], worths[2]))

    def _upper(self, values: Floats) -> Interval:
        upper: NDArray[np.int64] = np.flatnonzero(self.accuracy >= np.median(self.accuracy))
        return interval(taus(values, self.accuracy, [upper], self.weights))


# ---- what the seeds' noise leaves: a ranking that knows every accuracy without it agrees with no truth wholly -------
#
# If accuracies vary as much with the seed as with the arch, a low tau says nothing against a score.

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
