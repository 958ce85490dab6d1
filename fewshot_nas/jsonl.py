"""Files of JSON lines that only grow: what one process appends is on disk at once, and a crash costs one line."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot_nas.errors import InputError


@contextmanager
def appending(path: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that appends a record; when it returns, the record is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        stream.truncate(len(_whole_lines(path)))  # what a crash left behind

        def write(record: Mapping[str, Any]) -> None:
            stream.write(json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        yield write


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file that is there, without a last one that was cut short.

    Raises:
        InputError: a line is damaged.
    """
    for number, line in enumerate(_whole_lines(path).splitlines(), start=1):
        try:
            yield json.loads(line)
        except ValueError:
            raise InputError(f"{path}: line {number} is not valid JSON; delete the file to begin anew") from None


def _whole_lines(path: Path) -> bytes:
    """A file without what a crash may leave at its end: a line cut short, or zero bytes."""
    content = path.read_bytes().rstrip(b"\0")
    return content[: content.rfind(b"\n") + 1]
