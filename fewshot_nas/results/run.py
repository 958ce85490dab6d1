"""The phases, networks, searches and tables of a run, and where each of them is."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.directories import (
    FoundDirectory,
    NetworkDirectory,
    PhaseDirectory,
    RetrainDirectory,
    RunFiles,
    SearchDirectory,
)
from fewshot_nas.space.split import MAX_GROUPS

# A split by width is named by its number of groups; `on` is the parent's split, trained on. No other directory of a run
# has a name like the other splits'. A Cream search is named `search`.
_FIRST = ("1", "search")  # the phases that follow no other
_PART = rf"search|[1-{MAX_GROUPS}]|choice[a-z0-9]+|on|own[a-z0-9]+"
_SPLIT = rf"(?:{_PART})(?:-(?:{_PART}))*"


@dataclass(frozen=True)
class Phase:
    """A phase of training: the names of its split and of its parent's split ("" for a first phase).

    A split by width is named by its number of groups, so the one-shot phase is 1. The phase `search` is a Cream search.
    """

    split: str
    parent: str

    def __post_init__(self) -> None:
        numbers = [int(name) for name in (self.split, self.parent or "0") if name.isdigit()]
        falls = len(numbers) == 2 and not numbers[1] < numbers[0]
        if (self.split in _FIRST) != (self.parent == "") or falls or max(numbers, default=0) > MAX_GROUPS:
            raise InputError(
                f"a phase with {self.split} groups cannot follow one with {self.parent or 0},"
                f" expected more groups than its parent has, and at most {MAX_GROUPS}"
            )
        for name in (self.split, self.parent or "1"):
            if not re.fullmatch(_SPLIT, name):
                raise InputError(f"{name!r} is not the name of a split, expected 2, choice0block1, ownmine, ...")

    @property
    def name(self) -> str:
        """`1`, `2`, `3_from_2`, `ownmine`, ...; after the one-shot phase, a phase has the name of its split alone."""
        return self.split if self.parent in ("", "1") else f"{self.split}_from_{self.parent}"

    @property
    def training_options(self) -> dict[str, str]:
        """The options by which `train_few_shot` trains this phase.

        >>> Phase("3", "2").training_options, Phase("ownmine", "2").training_options
        ({'phase': '3_from_2'}, {'split_by': 'MODULE:mine'})
        """
        rule = re.findall(_PART, self.split)[-1]
        if rule.startswith("own"):
            return {"split_by": f"MODULE:{rule.removeprefix('own')}"}
        if rule.startswith("choice"):  # the name of the slots, without spaces
            return {"split_by": "choice", "slots": "SLOTS"}
        if rule == "on":
            return {"split_by": "none"}
        return {"phase": self.name if self.parent.isdigit() else rule}

    @property
    def order(self) -> tuple[bool, str, str]:
        """The key by which phases are sorted: first splits by width, from few groups to many."""
        return not self.split.isdigit(), self.split, self.parent

    @classmethod
    def parse(cls, name: str) -> "Phase":
        """The phase that has this name.

        Raises:
            InputError: no phase can have it.
        """
        match = re.fullmatch(rf"({_SPLIT})(?:_from_({_SPLIT}))?", name)
        if not match or match[2] == "1":
            raise InputError(f"{name!r} is not a phase, expected 1, 2, 3_from_2, choice0block1, ...")
        return cls(match[1], match[2] or ("" if name in _FIRST else "1"))


ONE_SHOT, SEARCH = Phase("1", ""), Phase("search", "")


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
    return NetworkDirectory(run_directory(save) / "stand_alone" / f"{arch_id}_seed{seed}")


def run_files(save: str) -> RunFiles:
    return RunFiles(run_directory(save))


def latency_path(save: str, runtime: str, device: str, threads: int, batch: int) -> Path:
    """A table of latencies where no other file is named."""
    return run_directory(save) / "latency" / f"{runtime}_{device}_threads{threads}_batch{batch}.json"


def latency_tables(save: str) -> list[Path]:
    return sorted((run_directory(save) / "latency").glob("*.json"))


def search_directory(save: str) -> SearchDirectory:
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
    return RetrainDirectory(run_directory(save) / f"retrain_{name}", name)


def retrain_directories(save: str) -> list[RetrainDirectory]:
    found = sorted(run_directory(save).glob("retrain_*"))
    return [RetrainDirectory(path, path.name.removeprefix("retrain_")) for path in found if path.is_dir()]


def phases(save: str) -> list[Phase]:
    """The phases of a run that have a chosen supernet, in their order."""
    return [phase for phase in known_phases(save) if phase_directory(save, phase).chosen.exists()]


def known_phases(save: str) -> list[Phase]:
    """The first phase, and every phase that a run has a directory for, in their order."""
    found = {ONE_SHOT}
    for path in run_directory(save).glob("*/"):
        with suppress(InputError):
            found.add(Phase.parse(path.name))
    return sorted({*found - {ONE_SHOT, SEARCH}, first_phase(save)}, key=lambda phase: phase.order)


def first_phase(save: str) -> Phase:
    """The one-shot phase; the Cream search in a run that has nothing else to begin with."""
    one_shot, search = (phase_directory(save, phase) for phase in (ONE_SHOT, SEARCH))
    begun = one_shot.manifest.exists() or one_shot.chosen.exists()
    return SEARCH if search.manifest.exists() and not begun else ONE_SHOT


def trainings(save: str) -> Iterator[PhaseDirectory]:
    """The directories of a run's trainings: its phases in their order, then networks from scratch."""
    yield from (phase_directory(save, phase) for phase in known_phases(save))
    yield from map(PhaseDirectory, sorted((run_directory(save) / "stand_alone").glob("*")))


def stored_settings(save: str) -> Path | None:
    """The settings that a run was begun with, of its first phase or of a network from scratch."""
    return next((each.config for each in trainings(save) if each.config.exists()), None)


def phase_of(save: str, text: str) -> Phase:
    """The phase of a run that is meant by the name of a split or of a phase; 1 is the first one.

    Raises:
        InputError: several phases of the run have that split, or no phase can have that name.
    """
    if text == ONE_SHOT.name:
        return first_phase(save)
    if "_from_" in text:
        return Phase.parse(text)
    named = [phase for phase in known_phases(save) if phase.split == text]
    if len(named) > 1:
        names = " and ".join(phase.name for phase in named)
        raise InputError(f"{run_directory(save)} has the phases {names}; give the name of one")
    try:
        return named[0] if named else Phase.parse(text)
    except InputError as error:
        there = ", ".join(phase.name for phase in known_phases(save))
        raise InputError(f"{error}; {run_directory(save)} has {there}") from None
