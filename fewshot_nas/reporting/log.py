"""Reading a phase's log: a JSON object per epoch, then one that names the chosen checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import Interval
from fewshot_nas.records.journal import numbered
from fewshot_nas.results.scores import METRICS


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch, counted from 0: mean losses, and for each metric the scores of archs in percent, by name or id.

    Attributes:
        guessing: the top-1 that naming one class for every image reaches, in percent, where it is known.
        board: of a Cream search, its paths and the measure that orders them.
    """

    number: int
    loss: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]]
    tau: Interval | None
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
    """

    epochs: tuple[Epoch, ...] = ()
    chosen: int | None = None
    rescored: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


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
    return Log(epochs, choice.get("epoch"), {metric: _numbers(where, scores, metric) for metric in scores})


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
        record.get("guessing"),
        _mapping(where, record, "board"),
    )


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
