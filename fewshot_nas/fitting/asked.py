"""What a run of `fit` is asked for, checked before torch is imported and the images are read."""

import argparse
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import BusyError, InputError
from fewshot_nas.cli.yaml_text import read_yaml
from fewshot_nas.config import load_config
from fewshot_nas.records.files import locked, read_json
from fewshot_nas.records.journal import refuse_difference
from fewshot_nas.results.directories import RunFiles
from fewshot_nas.results.run import run_files
from fewshot_nas.space.cost import read_bounds

_TIMES = {"h": 3600, "m": 60, "min": 60, "s": 1}


class TooShortError(InputError):
    """The budget is too short; what was measured is kept for the next one."""


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    Attributes:
        settings: of the file, then those of the command line.
        words: all that decides the result, by option, as a person gives it.
    """

    options: argparse.Namespace
    files: RunFiles
    budget_s: float
    settings: Sequence[str]
    words: dict[str, str]


def read_asked(options: argparse.Namespace) -> Asked:
    """The command line, checked as far as neither images nor a network are needed.

    Raises:
        InputError: an option is wrong, or a file is not there.
    """
    if launcher.place().size > 1:
        raise InputError("fit is started once, not by torchrun; give the machine's device with --device")
    files, budget_s = run_files(options.save), read_budget(options.budget)
    read_bounds([], options.max)
    settings = [*_flat(options.config), *options.overrides]
    if options.start is None:  # else they change the space of that file
        load_config(None, settings)
    for path, what in ((options.data, "images, by classes or with a list of labels"), (options.start, "weights")):
        if path is not None and not path.exists():
            raise InputError(f"{path.absolute()}: no such file or directory; expected {what}")
    if options.data is None and not any(each.startswith("data.") for each in settings):
        raise InputError("nothing names the images; give --data DIR, or data.name in --config FILE")
    words = {
        "--data": str(options.data.absolute()) if options.data else "",
        "--max": " ".join(options.max),
        "--budget": options.budget,
        "--seed": "" if options.seed is None else str(options.seed),
        "--start": str(options.start.absolute()) if options.start else "",
        "--int8": "yes" if options.int8 else "",
        "settings": " ".join(settings),
    }
    return Asked(options, files, budget_s, settings, {key: text or "none" for key, text in words.items()})


def read_budget(text: str) -> float:
    """Seconds of a budget such as `2h`, `90min` or `1.5h`.

    Raises:
        InputError: it is none.

    >>> read_budget("90min"), read_budget("1.5h")
    (5400.0, 5400.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(h|min|m|s)", text)
    if not match or float(match[1]) == 0:
        raise InputError(f"--budget is {text!r}, expected a time such as 2h, 30min or 90s")
    return float(match[1]) * _TIMES[match[2]]


def _flat(path: Path | None) -> list[str]:
    """The settings of a file as overrides."""
    if path is None:
        return []
    load_config(path)  # refuses mistakes with the file's name
    content = read_yaml(path.read_text(encoding="utf-8"), str(path))
    given = ((f"{section}.{key}", value) for section, keys in content.items() for key, value in keys.items())
    return [f"{key}={'null' if value is None else value}" for key, value in given]


@contextmanager
def held(files: RunFiles) -> Iterator[None]:
    """Keep other processes out of the run; a run that is refused before there is a plan leaves no directory,
    unless another budget may follow.

    Raises:
        BusyError: another process is at work on it.
    """
    new = not files.path.exists()
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(files.fit_lock, wait=False))
        except BusyError:
            said = f"{files.path}: another fit is at work on it; wait for its end, or choose another --save"
            raise BusyError(said) from None
        try:
            yield
        except TooShortError:
            raise
        except BaseException:
            if new and not files.fit.exists():
                shutil.rmtree(files.path, ignore_errors=True)
                with suppress(OSError):  # something else is there
                    files.path.parent.rmdir()
            raise


def begun_before(asked: Asked) -> dict[str, Any] | None:
    """The state of the run that the same command has begun, or one with a shorter budget; None if there is none, or
    only a plan for other options.

    Raises:
        InputError: steps were done with other options, or another command has made the run.
    """
    if not asked.files.fit.exists():
        _refuse_another(asked.files)
        return None
    state: dict[str, Any] = read_json(asked.files.fit)
    if not state["done"] and state["asked"] != asked.words:
        return None
    remedy = "give the same again to go on, or choose another --save"
    now = asked.words
    if asked.budget_s >= state["budget_s"]:
        now = now | {"--budget": state["asked"]["--budget"]}
    elif now | {"--budget": state["asked"]["--budget"]} == state["asked"]:
        remedy = "give that again or more to go on, or choose another --save"
    refuse_difference(f"{asked.files.path} was begun with", state["asked"], now, remedy)
    return state


def _refuse_another(files: RunFiles) -> None:
    own = {files.fit_lock.parent.name, files.fit_settings.name}
    there = sorted(each.name for each in files.path.iterdir() if not each.name.startswith("."))
    if other := [name for name in there if name not in own]:
        raise InputError(f"{files.path}: holds {other[0]}, which fit has not made; choose another --save")
