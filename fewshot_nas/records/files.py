"""Reading JSON strictly, and writing files so that none is ever half written."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import reprlib
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

from fewshot_nas.cli.errors import BusyError, InputError

PACKAGE = Path(__file__).parents[1]
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})  # what file systems without locks answer


def here_or_shipped(path: Path) -> Path:
    """A file or directory of the working directory, or the package's own of that name if there is none here."""
    shipped = PACKAGE / path
    return shipped if path.parts[:1] == ("json_file",) and not path.exists() and shipped.exists() else path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing under a temporary name; rename it into place on success.

    A crash, a full disk or Ctrl-C leaves the old file, or none, under the final name.
    The temporary name is unique, so that several processes may write the same path.

    Raises:
        InputError: the file cannot be written; says why. Other errors inside the block keep their own words.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    given, stream = False, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _Noting(temporary, "xb")
        with io.BufferedWriter(stream) as buffered:
            given = True
            yield buffered
            given = False
            buffered.flush()
            stream.sync()
        temporary.replace(path)
        sync(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        cause = stream.failure if given and stream else error
        if isinstance(cause, OSError):
            said = cause.strerror or cause
            raise InputError(f"{path}: cannot be written ({said}); what was there before is kept") from None
        raise


class _Noting(io.FileIO):
    """A file that notes the error of a write, which a writer such as torch.save may hide behind one of its own."""

    failure: OSError | None = None

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise

    def fileno(self) -> int:
        """Refuse: who knew the number would write past `write`."""
        raise io.UnsupportedOperation("fileno")

    def sync(self) -> None:
        os.fsync(super().fileno())


def original_of(temporary: str) -> str | None:
    """The name of the file that `replacing` was to write under a temporary name; None for names of other origin.

    >>> original_of(".scores.json.0123456789abcdef0123456789abcdef")
    'scores.json'
    """
    match = re.fullmatch(r"\.(.+)\.[0-9a-f]{32}", temporary)
    return match[1] if match else None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error of the operating system inside the block name this file; a full disk names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync(directory: Path) -> None:
    """Bring the names of a directory's files to disk, where its file system can do that."""
    with suppress(OSError):
        number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; bytes of file names that are no text are escaped."""
    with replacing(path) as stream:
        stream.write(text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` with the indentation that the competition's files have."""
    write_text(path, json.dumps(value, indent=4, allow_nan=False) + "\n")


def as_json(value: Any) -> Any:
    """A value as JSON holds it: null for a number that is not finite, so also for what is not defined.

    Dataclasses and named tuples become objects; other tuples and arrays become lists.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif hasattr(value, "tolist"):
        return as_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    return [as_json(each) for each in value] if isinstance(value, list | tuple) else value


def write_csv(path: Path, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table under its heads, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *rows])
    write_text(path, text.getvalue())


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        InputError: the file is missing, unreadable or no such text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from None


def read_json(path: Path) -> Any:
    """Parse a JSON file and refuse repeated keys, which `json` accepts.

    NaN is accepted as a number. The caller, who knows what the number means, can refuse it with a better message.

    Raises:
        InputError: the file is missing, unreadable, truncated or not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: not valid JSON at {place} ({error.msg})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number with too many digits
        raise InputError(f"{path}: not JSON that can be read ({error})") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{repeated!r} occurs twice in {reprlib.repr(unique)}, expected each key once")
    return unique


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock. The operating system releases it if the process dies.

    Some network file systems keep no locks. There is a warning then, and nothing is kept out.

    Args:
        path: the lock's file; it stays behind, empty.
        wait: whether to wait until another process releases the lock.

    Raises:
        BusyError: another process holds it, and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(f"{path.parent}: another process is at work here (it holds {path.name})") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            said = f"{path}: this file system keeps no locks ({error.strerror}); see to it that nothing else works here"
            warnings.warn(said, stacklevel=3)
        yield


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
