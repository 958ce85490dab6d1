"""A judgement as text."""

import math
from collections.abc import Iterator, Sequence

from fewshot_nas.ranking.interval import SIGNED, Interval, aligned, shown
from fewshot_nas.ranking.judgement import RIDGE, SEED, Judgement, Order, Verdict
from fewshot_nas.ranking.strata import TEN

_IN_CLASS = 2 * TEN  # networks, at least, of which the best of ten says something


def judgement_text(found: Judgement, spent: float | None = None) -> str:
    """Tables and sentences.

    Args:
        spent: images times multiply-adds of the supernet's own training, beside which its worth is put.
    """
    lines = [f"{found.networks:,} networks of {found.truth}, with 95 % intervals", ""]
    lines += [f"all networks; gain is over {found.best[0]}, the best count:", *_orders(found, 0)]
    if found.classes:
        lines += ["", f"at equal cost, the mean of {len(found.classes)} classes of multiply-adds;"]
        lines[-1] += f" gain is over {found.best[1]}:"
        lines += _orders(found, 1)
    if found.classes and min(networks for networks, *_ in found.classes) >= _IN_CLASS:
        lines += ["", *_regrets(found)]
    return "\n".join([*lines, *_costs(found, spent)])


def _orders(found: Judgement, number: int) -> Iterator[str]:
    """The table of all networks (0), or the one at equal cost (1)."""
    heads = ["ranking", "tau", "gain", "of what noise allows", "worth, in trained networks"]
    rows = [[*heads, *(["upper half"] if not number else [])]]
    for name, verdict in {**found.predicted, **found.counts}.items():
        order = (verdict.whole, verdict.equal_cost)[number]
        rows.append([name, *_cells(order), *([_signed(verdict.upper_half)] if not number else [])])
    rows += [[RIDGE.format(size), shown(taus[number], SIGNED)] for size, taus in found.ridge.items()]
    if not math.isnan(found.seed[number]):
        rows.append([SEED, shown(found.seed[number], SIGNED)])
        rows.append(["what the seeds' noise allows (estimate)", shown(found.ceiling[number], SIGNED)])
    yield from aligned(rows)


def _signed(each: Interval) -> str:
    return each.text(SIGNED)


def _cells(order: Order) -> list[str]:
    share = "" if math.isnan(order.share) else f"{100 * order.share:.0f} %"
    gain = "" if order.gain.low == order.gain.high else _signed(order.gain)
    return [_signed(order.tau), gain, share, worth_text(order.worth)]


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
    rankings = {**found.predicted, **found.counts}
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
