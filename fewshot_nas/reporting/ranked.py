"""The ranker's table, read from a run's file and shown on the page; the best archs within a budget of MACs."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import Interval, Row, gained, read_interval, read_row
from fewshot_nas.ranking.judgement import worth_text
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.style import interval, note, table
from fewshot_nas.results.scores import Scored
from fewshot_nas.space.block import Cost


@dataclass(frozen=True)
class Verdict:
    """A ranking beside the truth, at equal cost and in trained networks; see `ranking.judgement`.

    Attributes:
        equal_cost: tau within classes of multiply-adds.
        worth: the number of trained networks for the same tau, and its interval.
        lost: points lost to the best network of a class by the predicted best, and by the best of ten; nan without
            classes.
    """

    equal_cost: Interval
    worth: tuple[float, float, float]
    lost: tuple[float, float]


@dataclass(frozen=True)
class Ranked:
    """The result of `python -m fewshot_nas.rank`.

    Attributes:
        scores: directories of the evaluations that were used.
        archs, scored, truths: the numbers of archs that were predicted, that had scores, and that had a truth.
        predicted: the quantity that was predicted.
        verdicts: what `judge` says of each ranking that is fitted to no truth, by the name of a row.
    """

    scores: tuple[str, ...]
    archs: int
    scored: int
    truths: int
    predicted: str
    best_proxy: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def read_ranked(path: Path, anew: str) -> Ranked | None:
    """Read the ranker's table; None if there is no file.

    Args:
        anew: the command line that makes it anew.

    Raises:
        InputError: the file holds something else.
    """
    if not path.exists():
        return None
    content = read_json(path)
    try:
        rows = tuple(read_row(str(path), row) for row in content["rows"])
        archs, scored, truths = (int(content[key]) for key in ("archs", "scored", "truths"))
        return Ranked(
            scores=tuple(content["scores"]),
            archs=archs,
            scored=scored,
            truths=truths,
            predicted=content["predicted"],
            best_proxy=content["best_proxy"],
            rows=rows,
            notes=tuple(content.get("notes", ())),
            verdicts=read_verdicts(content.get("judged")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not the ranker's table; `{anew}` makes it anew") from None


def read_verdicts(judged: Mapping[str, Any] | None) -> dict[str, Verdict]:
    """The verdicts in `Judgement.values()`."""
    return {
        name: _verdict(each) for name, each in ({**judged["predicted"], **judged["counts"]} if judged else {}).items()
    }


def _verdict(found: Mapping[str, Any]) -> Verdict:
    # JSON has null for a worth that is infinite, and for one that is not defined.
    unknown = math.nan if found["whole"]["tau"]["value"] is None else math.inf
    worth = [unknown if size is None else float(size) for size in found["whole"]["worth"]]
    lost = [fmean(found["regret"][which] or [math.nan]) for which in ("first", "ten")]
    return Verdict(read_interval(found["equal_cost"]["tau"]), (worth[0], worth[1], worth[2]), (lost[0], lost[1]))


def ranked_table(ranked: Ranked) -> Iterator[str]:
    """All rankings with their gain over the best proxy, and the same in sentences."""
    rows = [[escape(row.title), str(row.archs), interval(row.tau), interval(row.gain)] for row in ranked.rows]
    heads = ["ranking", "archs", "tau", f"gain over {ranked.best_proxy or 'no proxy'}"]
    if ranked.verdicts:
        heads += ["tau at equal cost", "worth, in trained networks", "points lost, best of ten"]
        for cells, row in zip(rows, ranked.rows, strict=True):
            cells += _verdict_cells(ranked.verdicts.get(row.name))
    yield table(heads, rows, numeric=(1,))
    yield note(" ".join([*gained(ranked.rows, ranked.best_proxy), *ranked.notes]))


def _verdict_cells(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["", "", ""]
    lost = "" if math.isnan(verdict.lost[1]) else f"{verdict.lost[1]:.2f}"
    return [interval(verdict.equal_cost), worth_text(verdict.worth), lost]


SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class BestArch:
    """An arch that is among the best within a bound of MACs; its score is in percent."""

    bound: int
    arch_id: str
    code: str
    score: float
    cost: Cost


def macs_bounds(macs: Iterable[int]) -> list[int]:
    """Ascending round bounds; each is the smallest round number that a share of the values does not exceed."""
    ordered = sorted(macs)
    quantiles = (ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in SHARES)
    return sorted({_rounded_up(value) for value in quantiles})


def best_under(
    bounds: Iterable[int], scores: Mapping[str, Scored], costs: Mapping[str, Cost], count: int = 3
) -> list[BestArch]:
    """The `count` best archs within each bound, the best first; of equal ones, the cheaper first."""
    ranked = sorted(scores, key=lambda arch_id: (-scores[arch_id].acc, costs[arch_id].macs))
    return [
        BestArch(bound, arch_id, scores[arch_id].code, scores[arch_id].acc, costs[arch_id])
        for bound in bounds
        for arch_id in islice((each for each in ranked if costs[each].macs <= bound), count)
    ]


def macs_front(scores: Mapping[str, Scored], costs: Mapping[str, Cost]) -> list[str]:
    """The archs that are better than all archs with fewer or as many MACs, in order of MACs."""
    best, kept = -math.inf, []
    for arch_id in sorted(scores, key=lambda arch_id: (costs[arch_id].macs, -scores[arch_id].acc)):
        if scores[arch_id].acc > best:
            best = scores[arch_id].acc
            kept.append(arch_id)
    return kept


def _rounded_up(value: int) -> int:
    """Round up to two leading digits."""
    step = int(10 ** max(0, len(str(value)) - 2))
    return -(-value // step) * step
