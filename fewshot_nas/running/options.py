"""The options of commands, the settings that they ask for, and the first line that a command says."""

import argparse
import importlib.util
from pathlib import Path

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import TRAINING_COMMANDS, command_line, uses
from fewshot_nas.config import SECTIONS, Config, load_config
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import (
    ONE_SHOT,
    SEARCH,
    Phase,
    retrain_directories,
    run_directory,
    search_directory,
    stored_settings,
    trainings,
)
from fewshot_nas.results.scores import OF_TOP, read_manifest
from fewshot_nas.running.manifest import fixed_by, refuse_settings


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
        has_settings = there or options.config
        trained_on = (read_manifest(manifest).get("data") or {}).get("name", config.data.name)
        try:
            if not has_settings and trained_on != config.data.name:
                raise InputError(f"it was trained on {trained_on}, not {config.data.name}")
            refuse_settings(config, stored.parent, fixed_by(manifest))
        except InputError as error:
            missing = f"{stored}: no such file, so give the run's settings with --config FILE"
            raise error if has_settings else InputError(f"{missing} ({error})") from None
    return config


def add_save_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", default="save", metavar="NAME", help="directory under results/ (default save)")


def add_phase_option(parser: argparse.ArgumentParser, default: str | None = "1", shown: str = "1") -> None:
    """The option `--phase`, with the names that the competition's commands have for it.

    Args:
        shown: what the help calls the default.
    """
    parser.add_argument(
        "--phase",
        "--split_group",
        "--stage",
        "--group_nums",
        default=default,
        metavar="PHASE",
        help=f"phase of the run, or its number of groups: 1, 2, 3_from_2, choice0block1, ... (default {shown})",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="as torch names it (default: a GPU if there is one, else the CPU)")


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """The options of commands that weigh scores against costs."""
    parser.add_argument(
        "--top",
        choices=OF_TOP,
        help="the scores to go by: likelihood, mean probability, top-1, top-5 (default: likelihood;"
        " mean probability where the mean top-1 is 95 %% or more)",
    )
    parser.add_argument(
        "--latency", type=Path, metavar="FILE", help="table of latencies (default: the run's, if it has only one)"
    )


def add_run_options(parser: argparse.ArgumentParser, form: str = "section.key=value") -> None:
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
    if phase in (first := {ONE_SHOT: "train_supernet", SEARCH: "cream.search"}):
        return following(options, first[phase])
    return following(options, "train_few_shot", **phase.training_options)


def run_overrides(options: argparse.Namespace) -> list[str]:
    """The overrides of a training command's options, `--seed` among them."""
    seed = [] if getattr(options, "seed", None) is None else [f"run.seed={options.seed}"]
    return [*options.overrides, *seed]


def first_line(what: str, images: str = "", space: str = "", device: str = "") -> str:
    """What a command is about to work on; parts that it does not need are empty.

    >>> first_line("run results/digits (continued)", image_words("digits", 10, 1197, 300, 300), "px8", "cpu")
    'run results/digits (continued); digits, 1,197 training, 300 ranking, 300 test images, 10 classes; space px8; cpu'
    """
    return "; ".join(part for part in (what, images, space and f"space {space}", device) if part)


def image_words(name: str, classes: int, train: int, valid: int, test: int | None = None) -> str:
    """A data set with the numbers of images in its parts and of its classes."""
    counts = {"training": train, "ranking": valid} | ({} if test is None else {"test": test})
    shown = ", ".join(f"{count:,} {part}" for part, count in counts.items())
    return f"{name}, {shown} images, {classes} classes"


def run_begun(save: str) -> bool:
    """Whether anything has been trained under this name."""
    return _manifest(save) is not None


def known_run(save: str) -> str:
    """The first line of a command that reads a run's files only: what its first training was begun with."""
    path, what = _manifest(save), f"run {run_directory(save)}"
    if path is None:
        return f"{what} (nothing was trained here)"
    content = read_manifest(path)
    try:
        data, space = content["data"], content.get("space", {}).get("name", "")
        counts = data["train"]["images"], data["valid"]["images"]
        return first_line(what, image_words(data["name"], data["num_classes"], *counts), space)
    except (KeyError, TypeError, AttributeError):
        return what


def _manifest(save: str) -> Path | None:
    """Of the first training of a run, of either system."""
    directories: list[PhaseDirectory] = [*trainings(save), search_directory(save), *retrain_directories(save)]
    return next((each.manifest for each in directories if each.manifest.exists()), None)
