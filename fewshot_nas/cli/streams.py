"""Standard output and standard error that a command's work does not depend on.

A reader may have enough (`| head`), a disk may be full, a stream may be closed (`2>&-`), and a name may have bytes
that are no text. None of them may end a training: the words are lost, the work is not.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO


class _Stream:
    """A stream that fails once at most: from then on everything goes to the null device."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write text; characters that the stream's encoding lacks, as in names of Latin-1, are escaped."""
        encoding = self._stream.encoding or "utf-8"
        with self._kept():
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            # What is still in the buffer, and what libraries write, needs a place as well.
            with suppress(OSError), Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())


class Streams:
    """This process's streams while a command runs."""

    def __init__(self) -> None:
        _fill()
        out, err = sys.stdout or _nothing(), sys.stderr or sys.stdout or _nothing()
        self._out, self._err = _Stream(out), _Stream(err)

    def lost(self) -> str | None:
        """Why words for standard output are lost, if their reader has not gone on purpose."""
        self._out.flush()
        failure = self._out.failure
        return None if failure is None or failure.errno == errno.EPIPE else str(failure.strerror)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Put them into the place of `sys.stdout` and `sys.stderr`."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._out, self._err
        try:
            yield
        finally:
            self._out.flush()
            self._err.flush()
            sys.stdout, sys.stderr = before[0] or self._out, before[1] or self._err


def _fill() -> None:
    """Open the null device for each of the numbers 0, 1 and 2 that is closed, before a file that we write gets it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _nothing() -> TextIO:
    return Path(os.devnull).open("w")  # it stays open as long as the process
