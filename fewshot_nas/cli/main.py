"""What every command shares: its start and end, the handling of a user's mistakes, the parser of its arguments,
and how long the rest of its work takes.
"""

import argparse
import difflib
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import EndedError, InputError, KnownError, interruption, said_by_machine
from fewshot_nas.cli.launcher import Streams
from fewshot_nas.cli.settings import read_scalar

_SETTING = re.compile(r"[A-Za-z_]+\.[A-Za-z_0-9.]+=")

Main = Callable[[Sequence[str] | None], int]
Report = Callable[[str], None]


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Call a command's main; a wrong input, or an error of the machine, becomes one line and status 2.

    Ctrl-C ends with status 130 and SIGTERM, which schedulers send, with 143, as shells expect, and
    without a traceback. Of several processes one speaks. A reader of the output who leaves ends nothing.
    """
    streams = Streams()
    with streams.used():
        status = _status(main, argv)
        if lost := streams.lost():
            return status or _failed(f"standard output: {lost}; the work is done, but some of its lines are lost")
        return status


def _status(main: Main, argv: Sequence[str] | None) -> int:
    try:
        with _terminable():
            return main(argv)
    except KnownError as error:
        launcher.say_unless_ended(f"error: {error}")
        return launcher.FAILED
    except InputError as error:
        return _failed(str(error))
    except KeyboardInterrupt as error:
        _forget_workers()
        signal_, word = (
            (signal.SIGTERM, "terminated") if isinstance(error, Terminated) else (signal.SIGINT, "interrupted")
        )
        if launcher.is_first():
            print(word, file=sys.stderr)
        return 128 + signal_
    except Exception as error:
        if said := said_by_machine(error):
            return _failed(said)
        if launcher.keeps_errors():  # torchrun shows it last; Python shows it too
            launcher.say(f"{type(error).__name__}: {error}", traceback.format_exc())
        raise


def _failed(sentence: str) -> int:
    launcher.wait_for_first()
    launcher.say(f"error: {sentence}")
    return launcher.FAILED


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. It is handled like Ctrl-C, so everything is cleaned up in the same way."""


def _forget_workers() -> None:
    """Let torch's loaders no longer raise an error for each worker that has got the same signal."""
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception inside the block; only the main thread can do this.

    It is raised once, so that another SIGTERM does not disturb the cleaning up. Whatever a library makes of the
    signal, or of workers that have got it too, is an interruption.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = threading.Event()

    def terminate(*_: object) -> None:
        if not received.is_set():
            received.set()
            _forget_workers()
            raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except EndedError:
        raise
    except BaseException as error:
        if received.is_set() and not isinstance(error, Terminated):
            raise Terminated from error
        if (first := interruption(error)) not in (None, error):
            raise first from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class Parser(argparse.ArgumentParser):
    """A parser that says what an argument that it does not know may have been meant for.

    Whole numbers and paths are read as in settings: `1_0` is no number, and a leading `~` is the home directory.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", int, lambda text: read_scalar(int, text))
        self.register("type", Path, lambda text: read_scalar(Path, text))
        # What torch.distributed.launch adds to every command line; the environment says the same.
        self.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)

    def parse_intermixed_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """As in `argparse`; but settings may stand anywhere, also behind an option that takes several values.

        Raises:
            InputError: an argument is empty, as a shell's unset variable leaves it; or a local rank is not this
                process's.
        """
        words = list(sys.argv[1:] if args is None else args)
        for before, word in zip(["", *words], words, strict=False):
            if not word or re.fullmatch(r"--\w+=", word):
                name = word.rstrip("=") or (before if before.startswith("--") else "an argument")
                raise InputError(f"{name} is empty, expected a value; is a variable of the shell not set?")
        single = {name for action in self._actions if action.nargs is None for name in action.option_strings}
        pairs = list(zip(["", *words], words, strict=False))
        settings = [word for before, word in pairs if _SETTING.match(word) and before not in single]
        others = [word for before, word in pairs if not _SETTING.match(word) or before in single]
        found = super().parse_intermixed_args([*settings, *others], namespace)
        if found.local_rank is not None and found.local_rank != (here := launcher.place().local):
            raise InputError(
                f"--local-rank is {found.local_rank}, but LOCAL_RANK is {here}; start several processes with torchrun"
            )
        return found

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            InputError: says what is wrong, and what may have been meant.
        """
        before, unknown, words = message.partition("unrecognized arguments: ")
        help_ = f"; `python -m {self.prog} --help` lists the options"
        meant = self._meant(words.split()[0]) if unknown and not before else ""
        raise InputError(message + (meant or help_))

    def _meant(self, word: str) -> str:
        name, equals, value = word.lstrip("-").partition("=")
        if "." in name:
            return f"; settings are given without dashes: {name}={value if equals else 'VALUE'}"
        options = [option.lstrip("-") for option in self._option_string_actions]
        near = difflib.get_close_matches(name, options, 1)
        return f"; did you mean --{near[0]}?" if near else ""


def read_numbers(option: str, text: str, expected: str, most: int) -> list[int]:
    """Read whole numbers: `3`, a list such as `1,5,9`, a range such as `1-8`, or a mixture.

    Args:
        expected: what the option accepts, for the message.
        most: how many things there are to be numbered; a longer range is refused before it is built.

    Returns:
        The numbers in the order given, each once.

    Raises:
        InputError: the text is none of these.

    >>> read_numbers("--json_part", "3,1-2,2", "...", 8)
    [3, 1, 2]
    """
    numbers: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", item)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + most:
            raise InputError(f"{option} is {text!r}, expected {expected}; there are {most:,}")
        numbers += range(first, last + 1)
    return list(dict.fromkeys(numbers))


def as_list(numbers: Sequence[int]) -> str:
    """Ascending numbers as `read_numbers` reads them.

    >>> as_list([1, 3, 4, 5])
    '1,3-5'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def speaker(speaks: bool) -> Report:
    """A function that prints a line, or one that does nothing, so that only one of several processes prints."""
    return (lambda line: print(line, flush=True)) if speaks else (lambda line: None)


# ---- how long the rest of some work takes, judged by how long its beginning took -------------------------------------

_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class Pace:
    """Estimates the time that is left, from its creation on.

    Args:
        total: the work, in any unit to which its time is proportional.
        report: takes a line for a person; `advance` calls it after 1, 2, 4, 8, ... pieces of the work.
        clock: in seconds.
    """

    def __init__(
        self,
        total: float,
        report: Callable[[str], object] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._report, self._clock = total, report, clock
        self._begun, self._done, self.pieces = clock(), 0.0, 0

    def advance(self, amount: float = 1.0) -> None:
        """Note that a piece of the work is done."""
        self._done, self.pieces = self._done + amount, self.pieces + 1
        if self.pieces & (self.pieces - 1) == 0 and (left := self.left()):
            self._report(f"{100 * self._done / self._total:.0f} % done, {left}")

    def left(self) -> str:
        """Such as `about 12 min left`; empty before the first piece, and when all is done."""
        if not 0 < self._done < self._total:
            return ""
        return f"about {duration(self.whole_s() * (1 - self._done / self._total))} left"

    def whole_s(self) -> float:
        """Seconds that all of the work takes, once a piece is done."""
        return (self._clock() - self._begun) * self._total / self._done


def duration(seconds: float) -> str:
    """Seconds for a person.

    >>> [duration(seconds) for seconds in (0.2, 40, 100, 5_400, 200_000)]
    ['1 s', '40 s', '1.7 min', '1.5 h', '2.3 days']
    """
    name, size = next(((name, size) for name, size in _UNITS if seconds >= 1.5 * size), ("s", 1))
    value = max(seconds / size, 1.0)
    return f"{value:.0f} {name}" if size == 1 or value >= 10 else f"{value:.1f} {name}"
