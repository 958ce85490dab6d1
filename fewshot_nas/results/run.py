"""The phases, networks, searches and tables of a run, and where each of them is."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.directories import (
    FoundDirectory,
    NetworkDirectory,
    PhaseDirectory,
    RetrainDirectory,
    SearchDirectory,
)
from fewshot_nas.results.phase import ONE_SHOT, Phase

ROOT = Path("results")


def run_directory(save: str) -> Path:
    """`results/<save>`; `./results/<save>` and `./<save>` mean the same.

    Raises:
        InputError: the name leads out of `results/`, is a setting or has a space at an end, or a file or a broken link
            is in the way.
    """
    parts = [part for part in Path(save).parts if part != "."]
    if parts[:1] == [ROOT.name]:
        parts = parts[1:]
    if not parts or ".." in parts or Path(save).is_absolute() or any(part != part.strip() for part in parts):
        raise InputError(f"--save is {save!r}, expected the name of a directory under {ROOT}/")
    if re.match(r"\w+\.\w+=", save):
        raise InputError(f"--save is {save!r}, which is a setting; the run's name is missing before it")
    directory = ROOT.joinpath(*parts)
    for path in (directory, *directory.parents):
        if path.is_symlink() and not path.exists():
            raise InputError(f"--save is {save!r}, but {path} is a link that leads nowhere; mend or remove it")
        if path.exists() and not path.is_dir():
            raise InputError(f"--save is {save!r}, but {path} is a file, expected a directory or nothing")
    return directory


def within_run(save: str, path: Path) -> str:
    """A path as a run's files name it: from the run's directory on, so that the run may be moved, or as it is."""
    top = run_directory(save).absolute()
    return path.absolute().relative_to(top).as_posix() if path.absolute().is_relative_to(top) else str(path)


def from_run(save: str, text: str) -> Path:
    """The path that `within_run` has named."""
    own = run_directory(save) / text
    return own if own.exists() else Path(text)


def phase_directory(save: str, phase: Phase) -> PhaseDirectory:
    """The directory of a phase; the one-shot phase uses the run's own directory."""
    top = run_directory(save)
    return PhaseDirectory(top if phase == ONE_SHOT else top / phase.name)


def stand_alone_directory(save: str, arch_id: str, seed: int) -> NetworkDirectory:
    """The directory of a subnet's training from scratch."""
    return NetworkDirectory(run_directory(save) / "stand_alone" / f"{arch_id}_seed{seed}")


def ground_truth_path(save: str) -> Path:
    """The default file of a run's ground truth."""
    return run_directory(save) / "gt_arch30.json"


def prediction_path(save: str) -> Path:
    """The ranker's predictions: an arch file of the whole pool."""
    return run_directory(save) / "rank" / "predicted.json"


def prediction_error_path(save: str) -> Path:
    """The standard deviations of the predictions, in the form of an arch file."""
    return run_directory(save) / "rank" / "error.json"


def prediction_table_path(save: str) -> Path:
    """Predictions, errors and costs of the whole pool, a line for each arch."""
    return run_directory(save) / "rank" / "predicted.csv"


def ranking_path(save: str) -> Path:
    """The ranker's table, and what it was made from."""
    return run_directory(save) / "rank" / "ranking.json"


def latency_path(save: str, runtime: str, device: str, threads: int, batch: int) -> Path:
    """A table of latencies where no other file is named."""
    return run_directory(save) / "latency" / f"{runtime}_{device}_threads{threads}_batch{batch}.json"


def latency_tables(save: str) -> list[Path]:
    """The tables of latencies that a run has."""
    return sorted((run_directory(save) / "latency").glob("*.json"))


def report_path(save: str) -> Path:
    """The default file of a run's report."""
    return run_directory(save) / "report.html"


def search_directory(save: str) -> SearchDirectory:
    """The directory of a Cream search."""
    return SearchDirectory(run_directory(save) / "search")


def found_directory(save: str, name: str) -> FoundDirectory:
    """The directory of a search under bounds.

    Raises:
        InputError: the name is no plain one.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise InputError(f"--name is {name!r}, expected letters, digits, '-', '+', '_' and '.'")
    return FoundDirectory(run_directory(save) / "searches" / name)


def searches(save: str) -> dict[str, FoundDirectory]:
    """The searches of a run that have come to an end, by name."""
    found = (FoundDirectory(path.parent) for path in sorted(run_directory(save).glob("searches/*/found.json")))
    return {each.path.name: each for each in found}


def finetune_directory(save: str, name: str, seed: int) -> NetworkDirectory:
    """The directory of a found arch's training from inherited weights.

    Args:
        name: of the search that found it, or the phase and the code.
    """
    return NetworkDirectory(run_directory(save) / "finetune" / f"{name}_seed{seed}")


def retrain_directory(save: str, name: str) -> RetrainDirectory:
    """The directory of a Cream retraining."""
    return RetrainDirectory(run_directory(save) / f"retrain_{name}", name)


def retrain_directories(save: str) -> list[RetrainDirectory]:
    """The Cream retrainings of a run."""
    found = sorted(run_directory(save).glob("retrain_*"))
    return [RetrainDirectory(path, path.name.removeprefix("retrain_")) for path in found if path.is_dir()]


def phases(save: str) -> list[Phase]:
    """The phases of a run that have a chosen supernet, in their order."""
    return [phase for phase in known_phases(save) if phase_directory(save, phase).chosen.exists()]


def known_phases(save: str) -> list[Phase]:
    """The one-shot phase, and every phase that a run has a directory for, in their order."""
    found = {ONE_SHOT}
    for path in run_directory(save).glob("*/"):
        with suppress(InputError):
            found.add(Phase.parse(path.name))
    return sorted(found, key=lambda phase: phase.order)


def trained_phases(save: str) -> list[PhaseDirectory]:
    """The directories of all phases of a run, in their order."""
    return [phase_directory(save, phase) for phase in known_phases(save)]


def trainings(save: str) -> Iterator[PhaseDirectory]:
    """The directories of a run's trainings: its phases in their order, then networks from scratch."""
    yield from trained_phases(save)
    yield from map(PhaseDirectory, sorted((run_directory(save) / "stand_alone").glob("*")))


def stored_settings(save: str) -> Path | None:
    """The settings that a run was begun with, of its first phase or of a network from scratch."""
    return next((each.config for each in trainings(save) if each.config.exists()), None)


def phase_of(save: str, text: str) -> Phase:
    """The phase of a run that is meant by the name of a split or of a phase.

    Raises:
        InputError: several phases of the run have that split.
    """
    if text == "1" or "_from_" in text:
        return Phase.parse(text)
    named = [phase for phase in known_phases(save) if phase.split == text]
    if len(named) > 1:
        names = " and ".join(phase.name for phase in named)
        raise InputError(f"{run_directory(save)} has the phases {names}; give the name of one")
    return named[0] if named else Phase.parse(text)
