"""Writing the log of a run: a JSON object per line, and the same numbers for TensorBoard. `reporting.log` reads it."""

import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from fewshot_nas.ranking.correlation import TELLING
from fewshot_nas.ranking.interval import Interval, shown
from fewshot_nas.records.files import as_json
from fewshot_nas.records.journal import Record, append, cut
from fewshot_nas.results.scores import TITLES

_SAID = ("largest", "smallest", "best", "ema", "arch")  # the nets whose accuracy is reported after each epoch


class RunLog:
    """Appends records to a log. A resumed run cuts the log at its position, so no record is repeated.

    A record is on disk before the state that counts on it. TensorBoard's file is a copy for the eye: a disk that
    has no room for it ends the copy, with a warning, and not the training.
    """

    def __init__(self, path: Path, events: Path) -> None:
        self._path, self._events = path, events
        self._shown: BinaryIO | None = None
        self._broken = False
        self._first_step = 0

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._shown:
            self._shown.close()

    def position(self) -> int:
        """Number of bytes written so far."""
        return self._path.stat().st_size if self._path.exists() else 0

    def rewind(self, position: int, step: int) -> int:
        """Cut the log at a position, and make TensorBoard ignore its values of `step` and later.

        Returns:
            The number of bytes before the position that the log has lost, usually 0.
        """
        self._first_step = step
        return cut(self._path, position)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record, with null for nan; if it has a `step`, its numbers also go to TensorBoard."""
        append(self._path, as_json(record))
        if "step" in record and not self._broken:
            try:
                self._show(record)
            except OSError as error:
                self._broken = True
                said = f"{self._events}: cannot be written ({error.strerror}), so TensorBoard shows no more of this run"
                warnings.warn(f"{said}; {self._path} goes on", stacklevel=2)

    def _show(self, record: Mapping[str, Any]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in _numbers(record)]
        events = [Event(step=record["step"], summary=Summary(value=values))]
        if self._shown is None:
            self._events.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
            # Without a buffer, so that nothing is left to be written when the file is closed.
            self._shown = (self._events / name).open("ab", buffering=0)
            begun = SessionLog(status=SessionLog.START)  # hides what an earlier process wrote from this step on
            events[:0] = [Event(file_version="brain.Event:2"), Event(step=self._first_step, session_log=begun)]
        for event in events:
            event.wall_time = time.time()
            RecordWriter(self._shown).write(event.SerializeToString())


def summary(record: Record, epochs: int) -> str:
    """An epoch's record as a line for a person."""
    top1, time = record.get("top1", {}), record["time"]
    parts = [f"epoch {record['epoch'] + 1}/{epochs}", _named("loss", record["loss"], "{:.3f}")]
    parts += [_named("top-1", {name: top1[name] for name in _SAID if name in top1}, "{:.2f} %")] if top1 else []
    if "tau" in record:
        beside = ", ".join(f"{name} {shown(tau)}" for name, tau in record["proxies"].items())
        tau = f"tau by {TITLES[record['metric']]} {Interval(**record['tau']).text()}"
        few = ", too few to tell" if record["n"] < TELLING else ""
        parts.append(f"{tau} of {record['n']} archs{few} (proxies: {beside})")
    parts.append(f"{time['images_per_s']:.0f} images/s, {time['data_wait_percent']:.1f} % of it waiting for data")
    return "; ".join(parts)


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
