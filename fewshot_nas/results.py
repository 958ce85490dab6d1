"""The one place that knows names under `results/`.

results/<save>/                     the one-shot phase
results/<save>/<phase>/             a few-shot phase: 2, 3_from_2, ..., 7_from_6
    last.pth                        state for resuming
    <tau>_<epoch>.pth               candidates
    supernet.pth                    the chosen one
    config.yml manifest.json log.jsonl events/
    json_results/epoch<E>[_all_test]/top1_json<part>.json, top1_json_final.json, ...
results/<save>/search/              a Cream search: board.json after each epoch, path.json in the end
results/<save>/retrain_<name>/      a Cream retraining: <name>.pth.tar in the end
"""

import re
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.errors import InputError
from fewshot_nas.space.search_space import MAX_GROUPS

ROOT = Path("results")


@dataclass(frozen=True, order=True)
class Phase:
    """A phase of training: its number of groups, and its parent's (0 for the one-shot phase)."""

    groups: int
    parent: int

    def __post_init__(self) -> None:
        if not 0 <= self.parent < self.groups <= MAX_GROUPS or (self.parent == 0) != (self.groups == 1):
            raise InputError(
                f"a phase with {self.groups} groups cannot follow one with {self.parent},"
                f" expected more groups than its parent has, and at most {MAX_GROUPS}"
            )

    @property
    def name(self) -> str:
        """`1`, `2`, `3_from_2`, ...; a phase split from the one-shot supernet has its number only."""
        return str(self.groups) if self.parent <= 1 else f"{self.groups}_from_{self.parent}"

    @classmethod
    def parse(cls, name: str) -> "Phase":
        """The phase of a name.

        Raises:
            InputError: it is not one.
        """
        match = re.fullmatch(r"([1-7])(?:_from_([2-6]))?", name)
        if not match:
            raise InputError(f"{name!r} is not a phase, expected 1, 2, 3_from_2, ..., 7_from_6")
        groups = int(match[1])
        return cls(groups, int(match[2]) if match[2] else int(groups > 1))


ONE_SHOT = Phase(1, 0)


@dataclass(frozen=True)
class PhaseDirectory:
    """Where one phase of a run keeps its files."""

    path: Path

    @property
    def last(self) -> Path:
        return self.path / "last.pth"

    @property
    def chosen(self) -> Path:
        return self.path / "supernet.pth"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def config(self) -> Path:
        return self.path / "config.yml"

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def files(self) -> tuple[Path, ...]:
        """What a run that begins anew removes, beside candidates and scores."""
        return (self.manifest, self.last, self.chosen, self.log, self.config)

    def candidates(self) -> list[Path]:
        """All checkpoints that `candidate` has named."""
        pattern = re.compile(r"(nan|-?\d\.\d{4})_\d+\.pth")
        return [path for path in self.path.glob("*.pth") if pattern.fullmatch(path.name)]

    def candidate(self, tau: float, epoch: int) -> Path:
        """A checkpoint worth keeping, named as the competition's solution names them."""
        return self.path / f"{tau:.4f}_{epoch}.pth"

    def model(self, name: str) -> Path:
        """A checkpoint by the name that `--model_name` takes."""
        return self.path / f"{name.removesuffix('.pth')}.pth"

    def scores(self, epoch: str) -> Path:
        """The directory of an evaluation's score files; `epoch` is `17` or `17_all_test`."""
        return self.path / "json_results" / f"epoch{epoch}"


@dataclass(frozen=True)
class SearchDirectory(PhaseDirectory):
    """Where a Cream search keeps its files."""

    @property
    def chosen(self) -> Path:
        return self.path / "path.json"

    @property
    def board(self) -> Path:
        return self.path / "board.json"

    def files(self) -> tuple[Path, ...]:
        """As of every run, and the board."""
        return (*super().files(), self.board)


@dataclass(frozen=True)
class RetrainDirectory(PhaseDirectory):
    """Where a Cream retraining keeps its files; `name` is a published model's number, or `arch`."""

    name: str

    @property
    def chosen(self) -> Path:
        return self.path / f"{self.name}.pth.tar"


def run_directory(save: str) -> Path:
    """`results/<save>`; `./results/<save>` and `./<save>` mean the same.

    Raises:
        InputError: the name leads out of `results/`.
    """
    parts = [part for part in Path(save).parts if part != "."]
    if parts[:1] == [ROOT.name]:
        parts = parts[1:]
    if not parts or ".." in parts or Path(save).is_absolute():
        raise InputError(f"--save is {save!r}, expected the name of a directory under {ROOT}/")
    return ROOT.joinpath(*parts)


def phase_directory(save: str, phase: Phase) -> PhaseDirectory:
    """The directory of a phase; the one-shot phase lies at the top of its run."""
    top = run_directory(save)
    return PhaseDirectory(top if phase == ONE_SHOT else top / phase.name)


def search_directory(save: str) -> SearchDirectory:
    """The directory of a Cream search."""
    return SearchDirectory(run_directory(save) / "search")


def retrain_directory(save: str, name: str) -> RetrainDirectory:
    """The directory of a Cream retraining."""
    return RetrainDirectory(run_directory(save) / f"retrain_{name}", name)


def phases(save: str) -> list[Phase]:
    """The phases of a run that have a chosen supernet, in order of groups."""
    top = run_directory(save)
    named = [ONE_SHOT] if phase_directory(save, ONE_SHOT).chosen.exists() else []
    for directory in top.glob("*/supernet.pth"):
        if re.fullmatch(r"[2-7](_from_[2-6])?", directory.parent.name):
            named.append(Phase.parse(directory.parent.name))
    return sorted(named)


def phase_of(save: str, text: str) -> Phase:
    """The phase of a run that a number of groups, or a phase's name, stands for.

    Raises:
        InputError: several phases of the run have that many groups.
    """
    if not text.isdigit() or text == "1":
        return Phase.parse(text)
    directories = sorted(path.name for path in run_directory(save).glob(f"{text}*") if path.is_dir())
    named = [name for name in directories if re.fullmatch(rf"{text}(_from_[2-6])?", name)]
    if len(named) > 1:
        raise InputError(f"{run_directory(save)} has the phases {' and '.join(named)}; give the name of one")
    return Phase.parse(named[0] if named else text)
