"""A Cream search, its ranking of paths and what became of its path, read from a run's files, and its figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from fewshot_nas.cli.commands import command_line
from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.records.jsonl import records
from fewshot_nas.reporting.markup import code, note, plot, table
from fewshot_nas.reporting.ranked import Ranked, ranked_table, read_ranked
from fewshot_nas.reporting.style import BLUE, GREY, ORANGE, Figure, layout
from fewshot_nas.reporting.wording import decimal, quantity
from fewshot_nas.results.directories import RetrainDirectory, SearchDirectory
from fewshot_nas.results.evaluations import no_better

MEASURES = {"batch_top1": "top-1 of a training batch", "held_prob": "mean probability on held images"}


@dataclass(frozen=True)
class BoardAt:
    """The board after an epoch, counted from 1.

    Attributes:
        paths, accuracies: best first; accuracies in percent.
        top1: of the best path on the ranking images, if it was validated.
    """

    epoch: int
    paths: tuple[str, ...]
    accuracies: tuple[float, ...]
    top1: float | None


@dataclass(frozen=True)
class Retrained:
    """A training of a path alone: top-1 of the averaged weights after its last epoch, and on the test images."""

    name: str
    epochs: int
    valid: float | None
    tested: Mapping[str, float]


class Compared(NamedTuple):
    """A path with its accuracy alone, and its mean probability with the supernet's weights; both in percent."""

    arch_id: str
    path: str
    score: float
    truth: float


@dataclass(frozen=True)
class PathSearch:
    """A search.

    Attributes:
        measure: what the board goes by, a key of `MEASURES`.
        boards: from the first epoch that had one.
        found: the content of path.json, where the search has ended.
        ranked, compared: how the supernet's scores rank a ground truth, and its paths; where `score` was given one.
    """

    measure: str
    boards: tuple[BoardAt, ...]
    found: Mapping[str, Any]
    retrained: tuple[Retrained, ...]
    ranked: Ranked | None = None
    compared: tuple[Compared, ...] = ()

    @property
    def collapse(self) -> str:
        """A warning if the path that was found is no better than guessing, else nothing."""
        return no_better([self.found["top1"]], self.found["guessing"]) if "guessing" in self.found else ""


def read_path_search(search: SearchDirectory, retrainings: Sequence[RetrainDirectory]) -> PathSearch | None:
    """Read a run; None where nothing was searched or retrained.

    Raises:
        InputError: a file holds something else.
    """
    epochs = list(records(search.log))
    retrained = tuple(_retrained(each) for each in retrainings if each.log.exists())
    if not epochs and not retrained:
        return None
    try:
        boards = tuple(_board(record) for record in epochs if record["board"].get("entries"))
        measure = next((str(record["board"]["measure"]) for record in epochs if "measure" in record["board"]), "")
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{search.log}: is not the log of a Cream search") from None
    found = read_json(search.chosen) if search.chosen.exists() else {}
    anew = command_line("cream.score", save=search.path.parent, pool="POOL.json")
    ranked, compared = read_ranked(search.ranking, anew), _compared(search.ranking, anew)
    return PathSearch(measure, boards, found, retrained, ranked, compared)


def board_figure(search: PathSearch) -> Figure:
    """Every path of the board after each epoch, and the best path's top-1 on the ranking images."""
    title = MEASURES.get(search.measure, search.measure)
    points = [(at.epoch, *pair) for at in search.boards for pair in zip(at.accuracies, at.paths, strict=True)]
    validated = [(at.epoch, at.top1) for at in search.boards if at.top1 is not None]
    data = [
        _trace("paths on the board", "markers", points, GREY),
        _trace("the best of them", "lines+markers", [(at.epoch, at.accuracies[0]) for at in search.boards], BLUE),
        _trace("its top-1 on the ranking images", "lines+markers", validated, ORANGE),
    ]
    return {"data": data, "layout": layout("epoch", f"{title}, %", height=380, legend=True)}


def paths_figure(search: PathSearch) -> Figure:
    """Scores with the supernet's weights against accuracies of paths that were trained alone."""
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": [each.truth for each in search.compared],
        "y": [round(each.score, 3) for each in search.compared],
        "customdata": [escape(each.arch_id) for each in search.compared],
        "text": [each.path for each in search.compared],
        "marker": {"color": BLUE, "size": 8, "opacity": 0.75},
        "hovertemplate": "%{customdata}<br>%{text}<br>stand-alone %{x:.2f} %, supernet %{y:.2f} %<extra></extra>",
    }
    return {"data": [points], "layout": layout("stand-alone top-1, %", "supernet's mean probability, %", height=330)}


def found_sentence(search: PathSearch) -> str:
    """What the search found."""
    if not search.found:
        return "The search has not ended yet."
    found = search.found
    return (
        f"The search found a path of {quantity(found['macs'])} MACs and {quantity(found['params'])} parameters."
        f" With the supernet's weights its top-1 is {decimal(found['top1'])} %."
    )


def path_search_tiles(search: PathSearch) -> dict[str, object]:
    """The numbers in the head of a page that has nothing but a search."""
    tiles: dict[str, object] = {}
    if search.boards:
        tiles["epochs"] = search.boards[-1].epoch
    if "top1" in search.found:
        tiles["top-1 with the supernet's weights"] = decimal(search.found["top1"])
    tiles |= {
        f"top-1 of {each.name}, alone": decimal(each.valid) for each in search.retrained if each.valid is not None
    }
    if search.ranked:
        tiles |= {"paths scored": search.ranked.scored, "paths trained alone": search.ranked.truths}
    return tiles


def cream_section(search: PathSearch) -> Iterator[str]:
    """The board over time and at the end, and the trainings of paths alone."""
    if search.boards:
        measure, last = MEASURES.get(search.measure, search.measure), search.boards[-1]
        yield note(f"The board after each epoch, by {measure}. Hover over a point to read its path.")
        yield f"<figure>{plot('board')}</figure>"
        rows = [[code(path), decimal(value)] for path, value in zip(last.paths, last.accuracies, strict=True)]
        yield f"<h3>The board after epoch {last.epoch}</h3>" + table(("path", f"{measure}, %"), rows, numeric=(1,))
    yield from _ranking(search)
    if search.retrained:
        rows = [
            [escape(each.name), str(each.epochs), _percent(each.valid), _percent(each.tested.get("top1"))]
            for each in search.retrained
        ]
        heads = ("retrained", "epochs", "ranking images, top-1 %", "test images, top-1 %")
        yield "<h3>Trained alone</h3>" + table(heads, rows, numeric=(1, 2, 3))


def _ranking(search: PathSearch) -> Iterator[str]:
    """Whether the supernet's scores rank paths better than their costs do."""
    if search.ranked is None or not search.ranked.rows:
        return
    yield "<h3>Supernet against stand-alone training</h3>"
    yield note(
        f"How well scores and costs order {search.ranked.truths} paths that were trained alone. Raw: mean probability"
        " on the ranking images, with batch norms of each path's own. Board: by the measure that the board goes by."
        " Smoothed and combined: with a fit to kernels, expansions and costs, and with multiply-adds; neither needs a"
        " truth."
    )
    yield from ranked_table(search.ranked)
    yield f"<figure>{plot('paths')}</figure>"


def _compared(ranking: Path, anew: str) -> tuple[Compared, ...]:
    if not ranking.exists():
        return ()
    try:
        return tuple(
            Compared(str(each["arch"]), str(each["path"]), float(each["score"]), float(each["truth"]))
            for each in read_json(ranking)["points"]
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{ranking}: is not a ranking of paths; `{anew}` makes it anew") from None


def _percent(value: float | None) -> str:
    return "" if value is None else decimal(value)


def _trace(name: str, mode: str, points: Sequence[tuple[Any, ...]], colour: str) -> Figure:
    columns = list(map(list, zip(*points, strict=True))) or [[], []]
    look = {"marker": {"color": colour, "size": 5}, "line": {"color": colour, "width": 2}}
    text = (
        {"text": columns[2], "hovertemplate": name + " %{y:.2f} %<br>%{text}<extra></extra>"}
        if len(columns) > 2
        else {}
    )
    return {"type": "scatter", "mode": mode, "name": name, "x": columns[0], "y": columns[1]} | look | text


def _board(record: Mapping[str, Any]) -> BoardAt:
    measure, entries = record["board"]["measure"], record["board"]["entries"]
    paths, accuracies = tuple(each["INPUT_ARCH"] for each in entries), tuple(each[measure] for each in entries)
    return BoardAt(record["epoch"] + 1, paths, accuracies, record.get("top1", {}).get("best"))


def _retrained(directory: RetrainDirectory) -> Retrained:
    epochs = list(records(directory.log))
    validated = [record["top1"]["ema"] for record in epochs if "ema" in record.get("top1", {})]
    tested = read_json(directory.tested) if directory.tested.exists() else {}
    return Retrained(directory.name, len(epochs), validated[-1] if validated else None, tested)
