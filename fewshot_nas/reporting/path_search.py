"""What only a Cream run has on the page: the board over time and at the end, and its path trained alone."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.reporting.log import Epoch, read_log
from fewshot_nas.reporting.style import BLUE, GREY, ORANGE, Figure, code, layout, note, plot, table
from fewshot_nas.reporting.wording import decimal, quantity
from fewshot_nas.results.directories import RetrainDirectory, SearchDirectory

MEASURES = {"batch_top1": "top-1 of a training batch", "held_prob": "mean probability on held images"}


class BoardAt(NamedTuple):
    """The board after an epoch, counted from 1: paths and accuracies in percent, best first.

    Attributes:
        top1: of the best path on the ranking images, if it was validated.
    """

    epoch: int
    paths: tuple[str, ...]
    accuracies: tuple[float, ...]
    top1: float | None


class PathSearch(NamedTuple):
    """A search.

    Attributes:
        title: the measure that the board goes by.
        boards: from the first epoch that had one.
        found: the content of path.json, where the search has ended.
        retrained: of each training of a path alone: name, epochs, and top-1 of the averaged weights on the ranking
            images, after the last epoch, and on the test images.
    """

    title: str
    boards: tuple[BoardAt, ...]
    found: Mapping[str, Any]
    retrained: tuple[tuple[str, int, float | None, float | None], ...]

    def tiles(self) -> dict[str, object]:
        found = {"top-1 of the path, supernet's weights": self.found.get("top1")}
        found |= {f"top-1 of {name}, alone": valid for name, _, valid, _ in self.retrained}
        return {name: decimal(value) for name, value in found.items() if value is not None}

    def sentence(self) -> str:
        """What the search found; nothing before its end."""
        if not self.found:
            return ""
        cost = f"{quantity(self.found['macs'])} MACs and {quantity(self.found['params'])} parameters"
        return f"The search found a path of {cost}. "


def read_path_search(search: SearchDirectory, retrainings: Sequence[RetrainDirectory]) -> PathSearch | None:
    """Read a run; None where nothing was searched or retrained.

    Raises:
        InputError: a file holds something else.
    """
    epochs, found = read_log(search.log).epochs, read_json(search.chosen) if search.chosen.exists() else {}
    retrained = tuple(_retrained(each) for each in retrainings if each.log.exists())
    if not epochs and not retrained:
        return None
    measure = next((str(epoch.board["measure"]) for epoch in epochs if "measure" in epoch.board), "")
    try:
        boards = tuple(_board(epoch, measure) for epoch in epochs if epoch.board.get("entries"))
    except (KeyError, TypeError):
        raise InputError(f"{search.log}: is not the log of a Cream search") from None
    return PathSearch(MEASURES.get(measure, measure), boards, found, retrained)


def board_figure(search: PathSearch) -> Figure:
    """Every path of the board after each epoch, and the best path's top-1 on the ranking images."""
    points = [(at.epoch, *pair) for at in search.boards for pair in zip(at.accuracies, at.paths, strict=True)]
    best = [(at.epoch, at.accuracies[0], at.paths[0]) for at in search.boards]
    validated = [(at.epoch, at.top1, at.paths[0]) for at in search.boards if at.top1 is not None]
    data = [
        _trace("paths on the board", "markers", points, GREY),
        _trace("the best of them", "lines+markers", best, BLUE),
        _trace("its top-1 on the ranking images", "lines+markers", validated, ORANGE),
    ]
    return {"data": data, "layout": layout("epoch", f"{search.title}, %", height=380, legend=True)}


def cream_section(search: PathSearch) -> Iterator[str]:
    """The board over time and at the end, and the trainings of paths alone."""
    if search.boards:
        last = search.boards[-1]
        yield note(f"The board after each epoch, by {search.title}. Hover over a point to read its path.")
        yield f"<figure>{plot('board')}</figure>"
        rows = [[code(path), decimal(value)] for path, value in zip(last.paths, last.accuracies, strict=True)]
        yield f"<h3>The board after epoch {last.epoch}</h3>" + table(("path", f"{search.title}, %"), rows, numeric=(1,))
    if search.retrained:
        rows = [
            [escape(name), str(epochs), *("" if top1 is None else decimal(top1) for top1 in measured)]
            for name, epochs, *measured in search.retrained
        ]
        heads = ("retrained", "epochs", "ranking images, top-1 %", "test images, top-1 %")
        yield "<h3>Trained alone</h3>" + table(heads, rows, numeric=(1, 2, 3))


def _trace(name: str, mode: str, points: Sequence[tuple[Any, ...]], colour: str) -> Figure:
    x, y, paths = map(list, zip(*points, strict=True)) if points else ([], [], [])
    look = {"marker": {"color": colour, "size": 5}, "line": {"color": colour, "width": 2}}
    text = {"text": paths, "hovertemplate": name + " %{y:.2f} %<br>%{text}<extra></extra>"}
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y} | look | text


def _board(epoch: Epoch, measure: str) -> BoardAt:
    entries = epoch.board["entries"]
    paths, accuracies = tuple(each["INPUT_ARCH"] for each in entries), tuple(each[measure] for each in entries)
    return BoardAt(epoch.number + 1, paths, accuracies, epoch.top1.get("best"))


def _retrained(directory: RetrainDirectory) -> tuple[str, int, float | None, float | None]:
    epochs = read_log(directory.log).epochs
    validated = [epoch.top1["ema"] for epoch in epochs if "ema" in epoch.top1]
    tested = read_json(directory.tested).get("top1") if directory.tested.exists() else None
    return directory.name, len(epochs), validated[-1] if validated else None, tested
