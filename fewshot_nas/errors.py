"""What a user did wrong, or what the machine refuses, said in one sentence."""

import errno
import os

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


def said_by_machine(error: BaseException) -> str | None:
    """An error of the operating system as a sentence: the file, what is wrong, what helps.

    Returns:
        None for any other error, and for one that only a defect of this program causes.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    named = isinstance(error.filename, str | bytes)
    if error.errno in _DEFECTS and not (named and error.errno == errno.EINVAL):  # such a name may be impossible there
        return None
    place = os.fsdecode(error.filename) if named else "this machine"
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


class KnownError(InputError):
    """What another process has failed with, and has said; this one ends without a word."""
