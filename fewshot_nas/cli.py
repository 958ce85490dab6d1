"""Code that all commands share: options, settings, and the handling of a user's mistakes."""

import argparse
import difflib
import importlib.util
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from fewshot_nas import launcher
from fewshot_nas.commands import TRAINING_COMMANDS, command_line, uses
from fewshot_nas.config import SECTIONS, Config, load_config
from fewshot_nas.errors import EndedError, InputError, KnownError, interruption, said_by_machine
from fewshot_nas.manifest import fixed_by, refuse_settings
from fewshot_nas.opening import run_begun
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.phase import ONE_SHOT, Phase
from fewshot_nas.results.run import run_directory, stored_settings
from fewshot_nas.scores.manifests import read_manifest
from fewshot_nas.scores.shards import OF_TOP
from fewshot_nas.settings import read_scalar
from fewshot_nas.streams import Streams

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
        _record(error)
        raise


def _failed(sentence: str) -> int:
    launcher.wait_for_first()
    launcher.say(f"error: {sentence}")
    return launcher.FAILED


def _record(error: Exception) -> None:
    """Give a defect's traceback to torchrun, which shows it last; Python shows it too."""
    if launcher.keeps_errors():
        launcher.say(f"{type(error).__name__}: {error}", traceback.format_exc())


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
        """Show the usage and the mistake, and end with status 2."""
        before, unknown, words = message.partition("unrecognized arguments: ")
        meant = self._meant(words.split()[0]) if unknown and not before else ""
        super().error(message + meant)

    def _meant(self, word: str) -> str:
        name, equals, value = word.lstrip("-").partition("=")
        if "." in name:
            return f"; settings are given without dashes: {name}={value if equals else 'VALUE'}"
        options = [option.lstrip("-") for option in self._option_string_actions]
        near = difflib.get_close_matches(name, options, 1)
        return f"; did you mean --{near[0]}?" if near else "; --help lists the options"


def add_config_options(parser: argparse.ArgumentParser, form: str = "section.key=value") -> None:
    """The options `--config FILE` and overrides such as `form`."""
    parser.add_argument(
        "--config",
        "--cfg",
        type=Path,
        metavar="FILE",
        help="settings in YAML (default: those that the run was begun with, else the embedded digits)",
    )
    parser.set_defaults(command=parser.prog.removeprefix("fewshot_nas."))
    parser.add_argument("overrides", nargs="*", metavar=form, help="settings that replace the file's")


def config_of(options: argparse.Namespace, stored: Path | None = None) -> Config:
    """The settings that the options of a command ask for that trains nothing.

    Args:
        stored: the settings of an earlier training, used if no `--config` is given.

    Raises:
        InputError: names the setting that is wrong, that the command does not use, or that the earlier training fixed.
    """
    for override in options.overrides:
        section = override.partition(".")[0]
        if section in SECTIONS and not uses(options.command, section):
            raise InputError(f"{override!r}: {options.command} uses no settings of {section}; leave it out")
    there = stored is not None and stored.exists()
    config = load_config(options.config or (stored if there else None), options.overrides)
    if stored and (manifest := PhaseDirectory(stored.parent).manifest).exists():
        told = there or options.config
        trained_on = (read_manifest(manifest).get("data") or {}).get("name", config.data.name)
        try:
            if not told and trained_on != config.data.name:
                raise InputError(f"it was trained on {trained_on}, not {config.data.name}")
            refuse_settings(config, stored.parent, fixed_by(manifest))
        except InputError as error:
            missing = f"{stored}: no such file, so give the run's settings with --config FILE"
            raise error if told else InputError(f"{missing} ({error})") from None
    return config


def add_save_option(parser: argparse.ArgumentParser) -> None:
    """The option `--save`."""
    parser.add_argument("--save", default="save", metavar="NAME", help="directory under results/ (default save)")


def add_phase_option(parser: argparse.ArgumentParser, default: str | None = "1", usual: str = "1") -> None:
    """The option `--phase`, with the names that the competition's commands have for it.

    Args:
        usual: what the help calls the default.
    """
    parser.add_argument(
        "--phase",
        "--split_group",
        "--stage",
        "--group_nums",
        default=default,
        metavar="PHASE",
        help=f"phase of the run, or its number of groups: 1, 2, 3_from_2, depth34x2, ... (default {usual})",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """The option `--device`."""
    parser.add_argument("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that weigh scores against costs."""
    parser.add_argument(
        "--top",
        choices=OF_TOP,
        help="the scores to go by: mean probability, top-1, top-5, likelihood (default: the first that is merged)",
    )
    parser.add_argument(
        "--latency", type=Path, metavar="FILE", help="table of latencies (default: the run's, if it has only one)"
    )


def add_run_options(parser: argparse.ArgumentParser, form: str = "section.key=value") -> None:
    """The options of every training command."""
    add_save_option(parser)
    parser.add_argument("--seed", type=int, help="replaces run.seed")
    add_device_option(parser)
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue an unfinished run of this name (default)",
    )
    parser.add_argument("--plan", action="store_true", help="only say what it will cost, after a few steps for nothing")
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
        InputError: they contradict each other, or Ray is not installed.
    """
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers is {options.workers}, expected at least 1")
    if options.executor == "ray":
        if launcher.place().size > 1:
            raise InputError("--executor ray is started once, not by torchrun; Ray starts the other processes")
        if importlib.util.find_spec("ray") is None:
            raise InputError("--executor ray needs Ray: pip install 'fewshot-nas[ray]'")
        return True
    for name in ("address", "workers"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} is for --executor ray")
    return False


def run_config(options: argparse.Namespace, parent: Path | None = None) -> Config:
    """The settings that a training command's options ask for; without `--config`, those of the run.

    Args:
        parent: the settings of the run that a new one follows.
    """
    known = stored_settings(options.save) or (parent if parent and parent.exists() else None)
    return load_config(options.config or known, run_overrides(options))


def run_words(options: argparse.Namespace, parent: Path | None = None) -> str:
    """The run of a training command, for its first line: whether it is new, and where its settings come from.

    Args:
        parent: as `run_config` takes it.
    """
    directory = run_directory(options.save)
    if run_begun(options.save):
        return f"run {directory} ({'continued' if options.resume else 'this training anew'})"
    if options.config:
        origin = f"settings of {options.config}"
    elif parent and parent.exists():
        origin = f"no --config, so the settings of {parent}"
    else:
        given = " and those of the command line" if run_overrides(options) else ", on small digits"
        origin = f"no --config, so the default settings{given}"
    return f"run {directory.absolute()} (new; {origin})"


def following(options: argparse.Namespace, command: str, **more: object) -> str:
    """A command line for a hint, with the options that say which run and which settings are meant.

    Args:
        more: further options of the command, without dashes.
    """
    given = run_overrides(options) if command in TRAINING_COMMANDS else options.overrides
    settings = [each for each in given if uses(command, each.partition(".")[0])]
    return command_line(command, *settings, save=options.save, config=options.config, **more)


def training_of(options: argparse.Namespace, phase: Phase) -> str:
    """The command line that trains a phase, for a hint."""
    if phase == ONE_SHOT:
        return following(options, "train_supernet")
    return following(options, "train_few_shot", **phase.training_options)


def run_overrides(options: argparse.Namespace) -> list[str]:
    """The overrides of a training command's options, `--seed` among them."""
    seed = [] if getattr(options, "seed", None) is None else [f"run.seed={options.seed}"]
    return [*options.overrides, *seed]


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
