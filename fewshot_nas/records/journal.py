"""Files of JSON lines that only grow (what is appended is on disk at once, a crash costs one line), and journals.

A journal has finished pieces of work, a line each, under a head that says what they depend on. An evaluation notes its
work units, a search its generations. One process writes a journal. Each process that goes on with it writes a head of
its own, so that the numerics of all of them are known in the end. The logs of trainings are such files without a head.
What a head, a manifest or a file says is compared with what a command would use: work of other settings is refused.
"""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import named, sync

Record = dict[str, Any]


def appending(path: Path) -> Callable[[Mapping[str, Any]], None]:
    """A function that appends a record to a file that a crash may have left; when it returns, the record is on disk."""
    if path.exists():
        cut(path, path.stat().st_size)
    return lambda record: append(path, record)


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record; when this returns, it is on disk."""
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        with path.open("ab") as stream:
            stream.write(json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        if is_new:
            sync(path.parent)


def cut(path: Path, position: int) -> int:
    """Cut a file at a position in bytes, or earlier if it has lost lines since.

    Returns:
        The number of bytes that were lost, usually 0.
    """
    if not path.exists():
        return position
    kept = len(_whole(path.read_bytes()[:position]))
    with named(path), path.open("r+b") as stream:
        stream.truncate(kept)
    return position - kept


def records(path: Path) -> Iterator[Record]:
    """The records of a file, without a last one that was cut short; a missing file has none.

    Raises:
        InputError: as `numbered`.
    """
    return (record for _, record in numbered(path))


def numbered(path: Path) -> Iterator[tuple[str, Record]]:
    """The records of a file, each with its place, for messages.

    Where a power cut has left zero bytes in the middle of the file, the records there are lost. There is a warning,
    and the others are read.

    Raises:
        InputError: a line is damaged in another way.
    """
    content = path.read_bytes() if path.exists() else b""
    for number, line in enumerate(_whole(content).split(b"\n")[:-1], start=1):
        where = f"{path}, line {number}"
        lost, zero, left = line.rpartition(b"\0")
        if zero:
            said = f"{where}: {len(lost) + 1} bytes were lost, probably in a power cut; the other records are used"
            warnings.warn(said, stacklevel=2)
        try:
            record = json.loads(left)
        except (ValueError, RecursionError) as error:
            if zero:
                continue  # the beginning of this record is lost too
            reason = " ".join(str(error).split())
            raise InputError(f"{where}: not valid JSON ({reason}); restore the file, or delete it") from None
        if not isinstance(record, dict):
            raise InputError(f"{where}: expected an object, got {record!r}")
        yield where, record


def _whole(content: bytes) -> bytes:
    """Bytes without what a crash may leave at their end: a line cut short, or zero bytes."""
    content = content.rstrip(b"\0")
    return content[: content.rfind(b"\n") + 1]


@dataclass(frozen=True)
class Journal:
    """One journal.

    Attributes:
        begun: the beginning of the sentence that refuses other work's journal, such as `results/run was begun with`.
        manifest: what the work depends on.
        remedy: the end of that sentence, what to do.
    """

    path: Path
    begun: str
    manifest: Mapping[str, Any]
    remedy: str

    def read(self) -> list[Record]:
        """The pieces that are done.

        Raises:
            InputError: the journal is of other work, or damaged.
        """
        return [record for record in self._records() if "manifest" not in record]

    def numerics(self) -> list[Any]:
        """Numerics of all processes that wrote to this journal, without repeats."""
        found = [each for record in self._records() if "manifest" in record for each in record["numerics"]]
        return [each for place, each in enumerate(found) if each not in found[:place]]

    def writing(self, numerics: Sequence[Any]) -> Callable[[Mapping[str, Any]], None]:
        """A function that notes a piece; when it returns, the piece is on disk."""
        write = appending(self.path)
        write({"manifest": self.manifest, "numerics": list(numerics)})
        return write

    def _records(self) -> Iterator[Record]:
        for number, record in enumerate(records(self.path)):
            if "manifest" in record:
                keys = differing(record["manifest"], self.manifest)
                refuse_difference(self.begun, record["manifest"], self.manifest, self.remedy, keys)
            elif number == 0:
                raise InputError(f"{self.path}: begins without a head; delete it to begin anew")
            yield record


# ---- whether one may go on: what a run or a file fixes, compared with what a command would use -----------------------

SETTINGS = "settings."  # the prefix of settings in manifests
_SHOWN = 4  # differences in a sentence
_DIGEST = re.compile("[0-9a-f]{64}")
_LONG = 12  # elements; of longer lists only the first that differs is shown


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by dotted keys; tuples become lists, as in JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _listed(value)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The dotted keys whose values differ, or that only one of them has."""
    first, second = dict(flat(one)), dict(flat(other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key, ...) != second.get(key, ...))


def refuse_difference(
    begun: str, fixed: Mapping[str, Any], now: Mapping[str, Any], remedy: str, keys: Iterable[str] | None = None
) -> None:
    """Refuse what is not as a run or a file fixes it.

    Args:
        begun: the beginning of the sentence, such as `results/run was begun with`.
        remedy: the end of the sentence, what to do.
        keys: dotted ones to compare; by default those that both sides have, so what one does not know is left out.

    Raises:
        InputError: names the first differences with both values.
    """
    before, after = dict(flat(fixed)), dict(flat(now))
    wanted = [key for key in before if key in after] if keys is None else keys
    other = [key for key in wanted if before.get(key) != after.get(key)]
    # A setting may also be a fact of the same name, which is said in its place.
    said = {key.removeprefix(SETTINGS): (before.get(key), after.get(key)) for key in other}
    if said:
        sentences = [_said(key, *values) for key, values in said.items()]
        raise InputError(f"{begun} {', '.join(sentences[:_SHOWN])}; {remedy}")


def _said(key: str, before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list) and max(len(before), len(after)) > _LONG:
        if len(before) != len(after):
            return f"{len(before)} {key} (now {len(after)})"
        place = next(place for place, each in enumerate(before) if each != after[place])
        key, before, after = f"{key}[{place}]", before[place], after[place]
    return f"{key} {_short(before)} (now {_short(after)})"


def _short(value: Any) -> Any:
    return f"{value[:12]}..." if isinstance(value, str) and _DIGEST.fullmatch(value) else value


def _listed(value: Any) -> Any:
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value
