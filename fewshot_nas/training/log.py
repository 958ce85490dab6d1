"""The log of a run: a JSON object per line, and the same numbers for TensorBoard."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from fewshot_nas.ranking.correlation import TELLING
from fewshot_nas.ranking.interval import Interval, shown

Record = dict[str, Any]

_SAID = ("largest", "smallest", "best", "ema", "arch")  # the nets whose accuracy is reported after each epoch


class RunLog:
    """Appends records to a log. A resumed run cuts the log at its position, so no record is repeated.

    It is a context manager, because TensorBoard's file stays open from the first record on.
    """

    def __init__(self, path: Path, events: Path) -> None:
        self._path, self._events = path, events
        self._writer: SummaryWriter | None = None
        self._first_step = 0

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer:
            self._writer.close()

    def position(self) -> int:
        """Number of bytes written so far."""
        return self._path.stat().st_size if self._path.exists() else 0

    def rewind(self, position: int, step: int) -> None:
        """Cut the log at a position, and make TensorBoard ignore its values of `step` and later."""
        if self._path.exists():
            with self._path.open("ab") as stream:
                stream.truncate(position)
        self._first_step = step

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, with null for nan; if it has a `step`, its numbers also go to TensorBoard."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_strict(record), allow_nan=False) + "\n")
        if "step" not in record:
            return
        if self._writer is None:
            self._writer = SummaryWriter(str(self._events), purge_step=self._first_step)
        for name, value in _numbers(record):
            self._writer.add_scalar(name, value, record["step"])
        self._writer.flush()


def last_choice(path: Path) -> Mapping[str, Any]:
    """What the log of a phase says of the checkpoint that was chosen last; empty if none was."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    choices = [json.loads(line)["chosen"] for line in lines if line.startswith('{"chosen"')]
    return dict(choices[-1]) if choices else {}


def summary(record: Record, epochs: int) -> str:
    """An epoch's record as a line for a person."""
    top1, time = record.get("top1", {}), record["time"]
    parts = [f"epoch {record['epoch'] + 1}/{epochs}", _named("loss", record["loss"], "{:.3f}")]
    parts += [_named("top-1", {name: top1[name] for name in _SAID if name in top1}, "{:.2f} %")] if top1 else []
    if "tau" in record:
        beside = ", ".join(f"{name} {shown(tau)}" for name, tau in record["proxies"].items())
        tau = f"tau {Interval(**record['tau']).text()}"
        few = ", too few to tell" if record["n"] < TELLING else ""
        parts.append(f"{tau} of {record['n']} archs{few} (proxies: {beside})")
    parts.append(f"{time['images_per_s']:.0f} images/s, {time['data_wait_percent']:.1f} % of it waiting for data")
    return "; ".join(parts)


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            yield prefix + key, value


def _named(what: str, values: Mapping[str, float], form: str) -> str:
    """Numbers with their names; a single number without its name."""
    if len(values) == 1:
        return f"{what} {form.format(*values.values())}"
    return f"{what}: " + ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
