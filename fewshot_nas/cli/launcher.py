"""What a process says to the outside: a fatal error, on stderr or in torchrun's error file, and words on its streams.

It also reads torchrun's environment.

torchrun gives each process a file for its error, and shows the first error of all processes when everything
has ended. So the sentence comes last, and once.
"""

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from fewshot_nas.cli.errors import InputError

_FILE = "TORCHELASTIC_ERROR_FILE"
FAILED = 2  # exit status
_OTHERS_S = 3.0  # by then torchrun has ended this process, if the first one fails as well
_TORCHRUN_S = 30.0  # by then torchrun has ended this process, if the one that failed is on this machine


class Place(NamedTuple):
    """This process among those that torchrun, or a like launcher, has started; `local` counts on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0


def place() -> Place:
    """What the launcher's environment says; an empty variable counts as none.

    Raises:
        InputError: it is not what a launcher sets.
    """
    size = number("WORLD_SIZE", Place().size, least=1)
    local = number("LOCAL_RANK", Place().local)
    if size == 1:
        return Place(local=local)
    needed = ("RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in needed if not os.environ.get(name)]:
        raise InputError(
            f"WORLD_SIZE is {size}, without {' and '.join(missing)}; start several processes with torchrun,"
            " or unset WORLD_SIZE for one"
        )
    number("MASTER_PORT", 0, most=65535)
    return Place(number("RANK", 0, most=size - 1), size, local)


def share(items: int, rank: int, size: int) -> range:
    """The places, among so many items, of those that a process has: all in order of ranks, and as even as can be."""
    return range(items * rank // size, items * (rank + 1) // size)


def number(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """A whole number from the environment.

    Raises:
        InputError: the variable is something else.
    """
    text = os.environ.get(name) or str(default)
    value = int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else -1
    if value < least or (most is not None and value > most):
        expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
        raise InputError(f"the environment's {name} is {text!r}, expected {expected}; torchrun sets it")
    return value


def is_first() -> bool:
    """Whether this is the process that speaks for all; where the environment is wrong, each one is."""
    try:
        return place().rank == 0
    except InputError:
        return True


def keeps_errors() -> bool:
    """Whether torchrun has started this process, and wants its error in a file."""
    return _FILE in os.environ


def say(sentence: str, traceback: str | None = None) -> None:
    """Say why this process ends: to torchrun, else on standard error."""
    file = os.environ.get(_FILE)
    if not file:
        print(sentence, file=sys.stderr, flush=True)
        return
    shown = {"py_callstack": traceback or sentence, "timestamp": str(int(time.time()))}
    try:
        Path(file).write_text(json.dumps({"message": {"message": sentence, "extraInfo": shown}}))
    except OSError:  # its disk is full too
        print(sentence, file=sys.stderr, flush=True)


def wait_for_first() -> None:
    """Let the first process fail first: what all processes find wrong is said once."""
    if not is_first():
        _wait(_OTHERS_S)


def say_unless_ended(sentence: str) -> None:
    """Let torchrun end this process, because another one has said why; if that is on another machine, say it too."""
    if keeps_errors():
        _wait(_TORCHRUN_S)
        say(sentence)


def leave_with(sentence: str, *, first: bool) -> None:
    """End this process at once, from any thread.

    Args:
        first: whether no other process has said the sentence. If one has, it gets the time to end first.
    """
    torchrun = keeps_errors()
    if not first and torchrun:
        time.sleep(_OTHERS_S)
    if first or torchrun:
        say(f"error: {sentence}")
    os._exit(FAILED)


def _wait(seconds: float) -> None:
    if keeps_errors():
        with suppress(ValueError):  # not in a main thread
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(seconds)


# ---- standard output and standard error that a command's work does not depend on -------------------------------------
#
# A reader may have enough (`| head`), a disk may be full, a stream may be closed (`2>&-`), and a name may have bytes
# that are no text. None of them may end a training: the words are lost, the work is not.


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
