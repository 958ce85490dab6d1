"""Reading logs: a JSON object per epoch; then, of a phase, one that names the chosen checkpoint.

The log of a Cream search holds its board as well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.records.files import read_json
from fewshot_nas.records.journal import numbered
from fewshot_nas.reporting.style import decimal, quantity
from fewshot_nas.results.directories import RetrainDirectory, SearchDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.scores import METRICS


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch, counted from 0: mean losses, and for each metric the scores of archs in percent, by name or id.

    Attributes:
        metric: what its tau is of, where it is known.
        guessing: the top-1 that naming one class for every image reaches, in percent, where it is known.
        board: of a Cream search, its paths and the measure that orders them.
    """

    number: int
    loss: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]]
    tau: Interval | None
    metric: str | None = None
    guessing: float | None = None
    board: Mapping[str, Any] = field(default_factory=dict)

    @property
    def top1(self) -> Mapping[str, float]:
        return self.scores["top1"]


@dataclass(frozen=True, slots=True)
class Log:
    """The epochs of a phase, and which of them became its supernet, if that is known.

    Attributes:
        rescored: scores by metric, as in `Epoch`, of the chosen one by a ground truth that came later.
        truth: digest of the ground truth by which it was chosen; None if there was none.
    """

    epochs: tuple[Epoch, ...] = ()
    chosen: int | None = None
    rescored: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    truth: str | None = None

    @property
    def collapse(self) -> str:
        """A warning if the result, the chosen or the last epoch, is no better than guessing, else nothing."""
        measured = [epoch for epoch in self.epochs if epoch.top1 and epoch.guessing is not None]
        result = [epoch for epoch in measured if epoch.number == self.chosen] or measured[-1:]
        return no_better(result[0].top1.values(), result[0].guessing or 0.0) if result else ""


def read_log(path: Path) -> Log:
    """Read a log; a missing file is an empty log.

    A last line without a line end is a record that is still being written, and is ignored.

    Raises:
        InputError: names the line that is not a record.
    """
    records = list(numbered(path))
    epochs = tuple(_epoch(where, record) for where, record in records if "epoch" in record)
    choices = [(where, _mapping(where, record, "chosen")) for where, record in records if "chosen" in record]
    if not choices:
        return Log(epochs)
    where, choice = choices[-1]
    scores = _mapping(where, choice, "scores")
    rescored = {metric: _numbers(where, scores, metric) for metric in scores}
    return Log(epochs, choice.get("epoch"), rescored, _mapping(where, choice, "ground_truth").get("sha256"))


def _epoch(where: str, record: Mapping[str, Any]) -> Epoch:
    number = record["epoch"]
    if type(number) is not int or number < 0:
        raise InputError(f"{where}: epoch is {number!r}, expected a whole number")
    tau = _numbers(where, record, "tau")
    if tau and tau.keys() != {"value", "low", "high", "error"}:
        raise InputError(f"{where}: tau has the keys {sorted(tau)}, expected value, low, high and error")
    measured = Interval(**tau) if tau else None
    measured = measured if measured and measured.defined else None
    scores = {metric: _numbers(where, record, metric) for metric in METRICS}
    return Epoch(
        number,
        _numbers(where, record, "loss"),
        scores,
        measured,
        _metric(where, record),
        record.get("guessing"),
        _mapping(where, record, "board"),
    )


def _metric(where: str, record: Mapping[str, Any]) -> str | None:
    metric: str | None = record.get("metric")
    if metric not in (None, *METRICS):
        raise InputError(f"{where}: metric is {metric!r}, expected one of {', '.join(METRICS)}")
    return metric


def _mapping(where: str, record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} is {value!r}, expected an object")
    return value


def _numbers(where: str, record: Mapping[str, Any], key: str) -> dict[str, float]:
    """The numbers under a key; null and NaN both mean that there is no number."""
    values = _mapping(where, record, key)
    for name, value in values.items():
        if not (value is None or type(value) in (int, float)):
            raise InputError(f"{where}: {key}.{name} is {value!r}, expected a number")
    return {name: math.nan if value is None else float(value) for name, value in values.items()}


# ---- a Cream search: its board, and its path trained alone -----------------------------------------------------------

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


def _board(epoch: Epoch, measure: str) -> BoardAt:
    entries = epoch.board["entries"]
    paths, accuracies = tuple(each["INPUT_ARCH"] for each in entries), tuple(each[measure] for each in entries)
    return BoardAt(epoch.number + 1, paths, accuracies, epoch.top1.get("best"))


def _retrained(directory: RetrainDirectory) -> tuple[str, int, float | None, float | None]:
    epochs = read_log(directory.log).epochs
    validated = [epoch.top1["ema"] for epoch in epochs if "ema" in epoch.top1]
    tested = read_json(directory.tested).get("top1") if directory.tested.exists() else None
    return directory.name, len(epochs), validated[-1] if validated else None, tested
