"""The files of a training or a search, in its directory."""

import re
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.score_files import epoch_of

_CANDIDATE = re.compile(r"(epoch|\d\.\d{4})_(\d+)\.pth")


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
        """The files that a run removes before it starts anew, besides candidates and scores."""
        return (self.manifest, self.last, self.chosen, self.log, self.config)

    def candidates(self) -> list[Path]:
        """All checkpoints whose names `candidate` made."""
        return [path for path in self.path.glob("*.pth") if _CANDIDATE.fullmatch(path.name)]

    def candidate(self, tau: float, epoch: int) -> Path:
        """A checkpoint worth keeping, named `<tau>_<epoch>` as the competition's solution names them.

        A tau that is undefined or not positive is left out of the name, which would need quoting: `epoch_11.pth`.
        """
        return self.path / (f"{tau:.4f}_{epoch}.pth" if round(tau, 4) > 0 else f"epoch_{epoch}.pth")

    def model(self, name: str) -> Path:
        """A checkpoint by the name that `--model_name` takes; `0.81_17` means `0.8100_17.pth` too.

        Raises:
            InputError: the name leads out of the directory.
        """
        if Path(name).name != name:
            raise InputError(f"--model_name is {name!r}, expected the name of a file in {self.path} such as supernet")
        path = self.path / f"{name.removesuffix('.pth')}.pth"
        named = re.fullmatch(r"(\d\.\d+)_(\d+)", path.stem)
        if path.exists() or not named:
            return path
        digits = len(named[1].partition(".")[2])
        known = ((each, _CANDIDATE.fullmatch(each.name)) for each in self.candidates())
        taus = ((each, found[1]) for each, found in known if found and found[1] != "epoch" and found[2] == named[2])
        return next((each for each, tau in taus if f"{float(tau):.{digits}f}" == named[1]), path)

    @property
    def all_scores(self) -> Path:
        """The directory of all evaluations."""
        return self.path / "json_results"

    def scores(self, epoch: str) -> Path:
        """The directory of an evaluation's score files; `epoch` comes from `evaluation_name`."""
        return self.all_scores / f"epoch{epoch}"

    def evaluations(self) -> dict[str, Path]:
        """The directories whose names `scores` made, by their `epoch`."""
        paths = sorted(path for path in self.all_scores.glob("epoch*") if path.is_dir())
        return {epoch_of(path): path for path in paths}


@dataclass(frozen=True)
class SearchDirectory(PhaseDirectory):
    """Where a Cream search keeps its files."""

    @property
    def chosen(self) -> Path:
        return self.path / "path.json"

    @property
    def board(self) -> Path:
        return self.path / "board.json"

    @property
    def path_scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def ranking(self) -> Path:
        return self.path / "ranking.json"

    def files(self) -> tuple[Path, ...]:
        """The files of every run, and the board."""
        return (*super().files(), self.board)


@dataclass(frozen=True)
class RetrainDirectory(PhaseDirectory):
    """Where a Cream retraining keeps its files; `name` is a published model's number, or `arch`."""

    name: str

    @property
    def chosen(self) -> Path:
        return self.path / f"{self.name}.pth.tar"

    @property
    def tested(self) -> Path:
        return self.path / "test.json"

    def files(self) -> tuple[Path, ...]:
        """The files of every run, and the accuracy on the test images."""
        return (*super().files(), self.tested)


@dataclass(frozen=True)
class NetworkDirectory(PhaseDirectory):
    """Where the training of a single network keeps its files."""

    @property
    def chosen(self) -> Path:
        return self.path / "subnet.pth"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def files(self) -> tuple[Path, ...]:
        """The files of every run, and the result."""
        return (*super().files(), self.result)


@dataclass(frozen=True)
class FoundDirectory:
    """Where a search under bounds keeps its files."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "journal.jsonl"

    @property
    def found(self) -> Path:
        return self.path / "found.json"

    @property
    def front(self) -> Path:
        return self.path / "front.csv"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"
