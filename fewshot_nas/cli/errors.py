"""What a user did wrong, or what the machine refuses, said in one sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# What only a program can do wrong. Every other error of the operating system is the machine's.
_DEFECTS = frozenset({errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENOTTY, errno.ESPIPE, errno.ESRCH, errno.ECHILD})
_REMEDIES = {
    errno.EEXIST: "a directory is needed there, so remove the file, or mend the link that leads nowhere",
    errno.ENOTDIR: "a part of this path is a file, expected a directory",
    errno.EMFILE: "raise the limit with `ulimit -n 65536`, or lower data.workers",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk, or the network to it, has failed",
    errno.ESTALE: "the network's disk has lost this file; the same command goes on from the last saved state",
    errno.ENOTCONN: "mount this file system again",
}
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
_LESS_AT_A_TIME = (
    "memory ran out; lower the images at a time (evaluation.batch_size, for Cream BATCH_SIZE) or evaluation.memory_mb,"
    " or end what else needs memory"
)


def said_by_machine(error: BaseException) -> str | None:
    """A lack of memory, or an error of the operating system, as a sentence: the file, what is wrong, what helps.

    Returns:
        None for any other error, and for one that only a defect of this program causes.
    """
    if lacks_memory(error):
        return _LESS_AT_A_TIME
    if type(error) is RuntimeError and error.__context__ is not None:
        error = error.__context__  # torch hides the system's errors behind its own
    if not isinstance(error, OSError) or error.errno is None:
        return None
    named = isinstance(error.filename, str | bytes)
    if error.errno in _DEFECTS and not (named and error.errno == errno.EINVAL):  # such a name may be impossible there
        return None
    unnamed = "the working directory" if error.errno == errno.ENOENT else "this machine"  # os.getcwd names none
    place = os.fsdecode(error.filename) if named else unnamed
    remedy = _REMEDIES.get(error.errno)
    return f"{place}: {error.strerror}" + (f"; {remedy}" if remedy else "")


class InputError(ValueError):
    """A file, code or setting that cannot be used as it is.

    The message names the place (file, arch id, key), what was found and what was expected.
    Commands print it without a traceback and exit with status 2; any other exception is a
    defect of this program and keeps its traceback.
    """


class BusyError(InputError):
    """Another process is at work on the same files."""


class TaskError(InputError):
    """One of many tasks has failed too often.

    Attributes:
        number: of the task. The text says what went wrong, and goes on after the task's name.
    """

    def __init__(self, number: int, said: str) -> None:
        super().__init__(said)
        self.number = number


class EndedError(InputError):
    """What has ended all processes, as one that watches the others says it."""


class KnownError(EndedError):
    """What another process has failed with, and has said; this one ends without a word."""


def interruption(error: BaseException | None) -> KeyboardInterrupt | None:
    """Ctrl-C or SIGTERM, if it is what the error is, or what was being handled when the error was raised."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that Python, numpy, or torch on any device found no memory."""
    words = isinstance(error, RuntimeError) and any(each in str(error) for each in _NO_MEMORY)
    return words or isinstance(error, MemoryError)


@contextmanager
def with_memory(remedy: str) -> Iterator[None]:
    """Say what to do if memory runs out inside the block.

    Args:
        remedy: goes on after `memory ran out`.

    Raises:
        InputError: it did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise InputError(f"memory ran out {remedy}") from None
