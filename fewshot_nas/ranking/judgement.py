"""Predictions judged by a truth: tau, its gain over counting, what noise leaves of it, and what it is worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.baselines import (
    TEN,
    Groups,
    Regret,
    by_cost,
    curve,
    everything,
    interval,
    oracle,
    plain_tau,
    regret,
    resamples,
    taus,
    worth,
)
from fewshot_nas.ranking.correlation import FEWEST, Floats
from fewshot_nas.ranking.interval import SIGNED, UNDEFINED, Interval, aligned, merit, shown
from fewshot_nas.ranking.truth import MACS, Truth
from fewshot_nas.records.files import as_json

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
        found: dict[str, Any] = as_json(self)
        return found


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
        truth=truth.name,
        networks=len(rows),
        predicted={
            name: bench.verdict(values[rows], bench.sample(values[rows]), rivals)
            for name, values in predictions.items()
        },
        counts={name: bench.verdict(truth.counts[name][rows], taken, rivals) for name, taken in counts.items()},
        best=(best[0], best[1]),
        classes=[(len(group), float(macs[group].max()), float(accuracy[group].max())) for group in groups],
        ceiling=bench.ceiling,
        oracle=known.regret,
        seed=_seed(runs, groups),
        ridge=ridge,
        training=truth.images * float(macs.mean()) if truth.images else math.nan,
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


# ---- as text ---------------------------------------------------------------------------------------------------------

_IN_CLASS = 2 * TEN  # networks, at least, of which the best of ten says something


def judgement_text(found: Judgement, spent: float | None = None) -> str:
    """Tables and sentences.

    Args:
        spent: images times multiply-adds of the supernet's own training, beside which its worth is put.
    """
    lines = [f"{found.networks:,} networks of {found.truth}, with 95 % intervals", ""]
    lines += [f"all networks;{_rival(found, 0)}", *_orders(found, 0)]
    if found.classes:
        lines += ["", f"at equal cost, the mean of {len(found.classes)} classes of multiply-adds;"]
        lines[-1] += _rival(found, 1)
        lines += _orders(found, 1)
    if found.classes and min(networks for networks, *_ in found.classes) >= _IN_CLASS:
        lines += ["", *_regrets(found)]
    return "\n".join([*lines, *_costs(found, spent)])


def _rival(found: Judgement, number: int) -> str:
    count = found.best[number]
    return f" gain is over {_title(found, count)}, the best count:" if count else " no count has a tau:"


def _rankings(found: Judgement) -> dict[str, Verdict]:
    """Predictions and counts by their titles."""
    return {**found.predicted, **{_title(found, name): each for name, each in found.counts.items()}}


def _title(found: Judgement, count: str) -> str:
    """The name of a count, which a column may have, too."""
    while count in found.predicted:
        count += " (counted)"
    return count


def _orders(found: Judgement, number: int) -> Iterator[str]:
    """The table of all networks (0), or the one at equal cost (1)."""
    noisy = not math.isnan(found.ceiling[number])
    heads = ["ranking", "tau", "gain", *(["of what noise allows"] if noisy else []), "worth, in trained networks"]
    rows = [[*heads, *(["upper half"] if not number else [])]]
    for name, verdict in _rankings(found).items():
        order = (verdict.whole, verdict.equal_cost)[number]
        share = ["" if math.isnan(order.share) else f"{100 * order.share:.0f} %"] if noisy else []
        cells = [_signed(order.tau), _gain(order.gain), *share, worth_text(order.worth)]
        rows.append([name, *cells, *([_signed(verdict.upper_half)] if not number else [])])
    rows += [[RIDGE.format(size), shown(taus[number], SIGNED)] for size, taus in found.ridge.items()]
    if not math.isnan(found.seed[number]):
        rows.append([SEED, shown(found.seed[number], SIGNED)])
        rows.append(["what the seeds' noise allows (estimate)", shown(found.ceiling[number], SIGNED)])
    yield from aligned(rows)


def _signed(each: Interval) -> str:
    return each.text(SIGNED)


def _gain(gain: Interval) -> str:
    return "" if gain.low == gain.high else _signed(gain)


def worth_text(worth: Sequence[float]) -> str:
    """A worth with its ends: `63 [48, 90]`; `less` and `more` than the ranker without scores was tried with.

    >>> worth_text((63.2, 48, float("inf"))), worth_text((0, 0, 0))
    ('63 [48, more]', 'less')
    """
    value, *ends = (_size(each) for each in worth)
    return value if value in ("", "less", "more") and set(ends) == {value} else f"{value} [{', '.join(ends)}]"


def _size(worth: float) -> str:
    if math.isnan(worth):
        return ""
    return "less" if worth == 0 else "more" if worth == math.inf else f"{worth:.0f}"


def _regrets(found: Judgement) -> Iterator[str]:
    """What each ranking loses as a mean over the classes; and class by class for the first."""
    rankings = _rankings(found)
    yield "points lost to the best network of a class, by the predicted best and by the best of ten, as means:"
    rows = [[name, *(f"{each.mean():.2f}" for each in verdict.regret)] for name, verdict in rankings.items()]
    if not math.isnan(found.oracle.first.mean()):
        rows.append(["an oracle without noise", *(f"{each.mean():.2f}" for each in found.oracle)])
    yield from aligned([["ranking", "best", "best of ten"], *rows])
    name, verdict = next(iter(rankings.items()))
    yield from ("", f"class by class, accuracy in %, by {name}:", *aligned(_classes(found, verdict)))


def _classes(found: Judgement, verdict: Verdict) -> list[list[str]]:
    rows = [["multiply-adds up to", "networks", "true best", "predicted best", "best of ten"]]
    for (networks, macs, best), first, ten in zip(found.classes, *verdict.regret, strict=True):
        found_there = (f"{best:.2f}", f"{best - first:.2f}", f"{best - ten:.2f}")
        rows.append([f"{macs / 1e6:,.1f} M", f"{networks:,}", *found_there])
    return rows


def _costs(found: Judgement, spent: float | None) -> Iterator[str]:
    """What so many trainings would have cost, beside the supernet's own."""
    if math.isnan(found.training):
        return
    yield ""
    yield f"one of the truth's trainings: {found.training:.3g} images times multiply-adds, as a mean"
    if spent is None:
        return
    for name, verdict in found.predicted.items():
        for what, order in (("", verdict.whole), (" at equal cost", verdict.equal_cost)):
            networks = order.worth[0]
            if 0 < networks < math.inf:
                price = networks * found.training
                yield (
                    f"{name}{what} is worth {networks:.0f} of them, {price:.3g}; the supernet's training took"
                    f" {spent:.3g}, {price / spent:.1f} times less"
                )
