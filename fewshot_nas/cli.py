"""What every command shares: options, settings, and how a mistake of the user's ends."""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fewshot_nas.config import Config, load_config
from fewshot_nas.errors import InputError

Main = Callable[[Sequence[str] | None], int]
Report = Callable[[str], None]

# A disk that is full, or that may not be written to, is no defect of ours.
_MACHINES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})


def run(main: Main, argv: Sequence[str] | None = None) -> int:
    """Call a command's main; a wrong input, or a full disk, becomes one line on standard error and status 2.

    Ctrl-C ends with status 130 and SIGTERM, which schedulers send, with 143, as shells expect, and
    without a traceback.
    """
    try:
        with _terminable():
            return main(argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _MACHINES:
            raise
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2
    except Terminated:
        print("terminated", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


class Terminated(KeyboardInterrupt):
    """SIGTERM has come; everything that cleans up after Ctrl-C does so now."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM an exception for a while; only a main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    raise Terminated


def add_config_options(parser: argparse.ArgumentParser, form: str = "section.key=value") -> None:
    """The options `--config FILE` and overrides such as `form`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in YAML (default: the embedded digits)")
    parser.add_argument("overrides", nargs="*", metavar=form, help="settings that replace the file's")


def config_of(options: argparse.Namespace, stored: Path | None = None) -> Config:
    """The settings that the options ask for.

    Args:
        stored: the settings of an earlier run, taken where no `--config` is given.
    """
    path = options.config or (stored if stored and stored.exists() else None)
    return load_config(path, options.overrides)


def add_run_options(parser: argparse.ArgumentParser, form: str = "section.key=value") -> None:
    """The options of every training command."""
    parser.add_argument("--save", default="save", metavar="NAME", help="directory under results/ (default save)")
    parser.add_argument("--seed", type=int, help="replaces run.seed")
    parser.add_argument("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue an unfinished run of this name (default)",
    )
    add_config_options(parser, form)


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that can compute on Ray."""
    parser.add_argument(
        "--executor",
        choices=("local", "ray"),
        default="local",
        help="who computes: this process, with those of torchrun (local, the default), or workers on a Ray cluster",
    )
    parser.add_argument(
        "--address",
        help="of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT (default: RAY_ADDRESS, else Ray is started here)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="on Ray, the most at a time (default: as many as there is room for)"
    )


def uses_ray(options: argparse.Namespace) -> bool:
    """Whether the options ask for Ray.

    Raises:
        InputError: they contradict each other.
    """
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers is {options.workers}, expected at least 1")
    if options.executor == "ray":
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            raise InputError("--executor ray is started once, not by torchrun; Ray starts the other processes")
        return True
    for name in ("address", "workers"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for --executor ray")
    return False


def run_config(options: argparse.Namespace) -> Config:
    """The settings that a training command's options ask for."""
    return load_config(options.config, run_overrides(options))


def run_overrides(options: argparse.Namespace) -> list[str]:
    """The overrides of a training command's options, `--seed` among them."""
    seed = [] if options.seed is None else [f"run.seed={options.seed}"]
    return [*options.overrides, *seed]


def speaker(speaks: bool) -> Report:
    """Prints a line, or not: only one of several processes should."""
    return (lambda line: print(line, flush=True)) if speaks else (lambda line: None)
