"""The ranker's table, read from a run's file and shown on the page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.ranking.rows import Row, gained, read_interval, read_row
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.markup import note, table
from fewshot_nas.reporting.wording import interval


@dataclass(frozen=True)
class Ranked:
    """The result of `python -m fewshot_nas.rank`, or of a Cream search's `score`.

    Attributes:
        scores: directories of the evaluations that were used.
        archs, scored, truths: the numbers of archs that were predicted, that had scores, and that had a truth.
        predicted: the quantity that was predicted.
        equal_cost: tau within classes of multiply-adds, by the name of a row.
    """

    scores: tuple[str, ...]
    archs: int
    scored: int
    truths: int
    predicted: str
    best_proxy: str | None
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    equal_cost: Mapping[str, Interval] = field(default_factory=dict)


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
        sources, predicted, best = tuple(content["scores"]), content["predicted"], content["best_proxy"]
        equal = {name: read_interval(each) for name, each in content.get("equal_cost", {}).items()}
        return Ranked(sources, archs, scored, truths, predicted, best, rows, tuple(content.get("notes", ())), equal)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not the ranker's table; `{anew}` makes it anew") from None


def ranked_table(ranked: Ranked) -> Iterator[str]:
    """All rankings with their gain over the best proxy, and the same in sentences."""
    rows = [[escape(row.title), str(row.archs), interval(row.tau), interval(row.gain)] for row in ranked.rows]
    heads = ["ranking", "archs", "tau", f"gain over {ranked.best_proxy or 'no proxy'}"]
    if ranked.equal_cost:
        heads.append("tau at equal cost")
        for cells, row in zip(rows, ranked.rows, strict=True):
            cells.append(interval(ranked.equal_cost[row.name]) if row.name in ranked.equal_cost else "")
    yield table(heads, rows, numeric=(1,))
    yield note(" ".join([*gained(ranked.rows, ranked.best_proxy), *ranked.notes]))
