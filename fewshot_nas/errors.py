"""What a user did wrong, said in one sentence."""


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
