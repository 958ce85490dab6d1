"""The files of a training, a search or an evaluation, in its directory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fewshot_nas.cli.errors import InputError

BESIDE = 0  # the part of a sample that holds the ground truth's archs, which are scored beside it
_CANDIDATE = re.compile(r"(epoch|\d\.\d{4})_(\d+)\.pth")


class File:
    """A file of a directory, by its name, in which `{name}` stands for the directory's attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, directory: Any, kind: type) -> Path:
        path: Path = directory.path
        return path / self._name.format(**vars(directory))


@dataclass(frozen=True)
class PhaseDirectory:
    """Where one phase of a run keeps its files."""

    path: Path
    last = File("last.pth")
    chosen = File("supernet.pth")
    log = File("log.jsonl")
    manifest = File("manifest.json")
    config = File("config.yml")
    events = File("events")
    lock = File(".lock")
    all_scores = File("json_results")  # the directory of all evaluations
    own: ClassVar[Sequence[str]] = ()  # the files that only a subclass has

    def files(self) -> tuple[Path, ...]:
        """The files that a run removes before it starts anew, besides candidates and scores."""
        return (
            self.manifest,
            self.last,
            self.chosen,
            self.log,
            self.config,
            *(getattr(self, each) for each in self.own),
        )

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

    chosen = File("path.json")
    supernet = File("supernet.pth")  # the `chosen` one of this phase, for the commands of all spaces
    board = File("board.json")
    own = ("supernet", "board")


@dataclass(frozen=True)
class RetrainDirectory(PhaseDirectory):
    """Where a Cream retraining keeps its files; `name` is a published model's number, or `arch`."""

    name: str
    chosen = File("{name}.pth.tar")
    subnet = File("subnet.pth")  # the averaged network, for the commands of all spaces
    tested = File("test.json")  # its accuracy on the test images
    own = ("subnet", "tested")


@dataclass(frozen=True)
class NetworkDirectory(PhaseDirectory):
    """Where the training of a single network keeps its files."""

    chosen = File("subnet.pth")
    result = File("result.json")
    own = ("result",)


@dataclass(frozen=True)
class FoundDirectory:
    """Where a search under bounds keeps its files."""

    path: Path
    journal = File("journal.jsonl")
    found = File("found.json")
    front = File("front.csv")
    lock = File(".lock")


@dataclass(frozen=True)
class RunFiles:
    """The files of a whole run, in its directory."""

    path: Path
    ground_truth = File("gt_arch30.json")  # by default
    report = File("report.html")  # by default
    ranking = File("rank/ranking.json")  # the ranker's table, and what it was made from
    prediction = File("rank/predicted.json")  # the ranker's predictions: an arch file of the whole pool
    prediction_error = File("rank/error.json")  # their standard deviations, in the same form
    untrained = File("rank/untrained.jsonl")  # scores of untrained networks
    prediction_table = File("rank/predicted.csv")  # predictions, errors and costs, a line for each arch
    judged = File("judged.json")  # what `judge` has said, from Python
    fit = File("fit.json")  # what `fit` has planned and done
    fit_settings = File("fit.yml")  # what its rules have chosen
    fit_timings = File("fit/timings.json")  # what it has measured of the machine
    fit_log = File("fit/log.txt")  # what its commands have said
    answer = File("fit/answer.json")  # its networks on the test images
    guesses = File("fit/guesses.csv")  # of each of them for each image
    fit_lock = File("fit/.lock")


def evaluation_name(epoch: int, on_test: bool, sample: int | None = None) -> str:
    """The name that `--epoch` uses for an evaluation: `17`, `17_all_test`, `17_sample2000`, ...."""
    return f"{epoch}{'_all_test' if on_test else ''}{'' if sample is None else f'_sample{sample}'}"


def epoch_of(directory: Path) -> str:
    """The name that `--epoch` uses for the evaluation in a directory of `PhaseDirectory.scores`."""
    return directory.name.removeprefix("epoch")


def on_test(directory: Path) -> bool:
    """Whether an evaluation's directory holds scores on the test images."""
    return "_all_test" in directory.name


def is_evaluation_name(text: str) -> bool:
    """Whether `evaluation_name` can have made this name."""
    return re.fullmatch(r"\d+(_all_test)?(_sample\d+)?", text) is not None


def shard_path(directory: Path, metric: str, part: int) -> Path:
    """The scores of part 1, 2, ..., or `BESIDE`, by a metric such as top1, in an evaluation's directory."""
    return directory / f"{metric}_json{part}.json"


def parts_with_scores(directory: Path, metric: str) -> dict[int, Path]:
    """The files whose names `shard_path` made for a metric, by part."""
    matches = (
        (re.fullmatch(rf"{metric}_json(\d+)\.json", path.name), path) for path in sorted(directory.glob("*.json"))
    )
    return {int(match[1]): path for match, path in matches if match}


def manifest_path(directory: Path, part: int) -> Path:
    """The manifest of a part; all metrics share it."""
    return directory / f"manifest{part}.json"


def merged_path(directory: Path, metric: str) -> Path:
    return directory / f"{metric}_json_final.json"


def merged_manifest_path(directory: Path) -> Path:
    return directory / "manifest_final.json"


def journal_path(directory: Path, parts: str) -> Path:
    """The journal of an unfinished evaluation of some parts: `3`, `1-8`, `1,3`."""
    return directory / f"journal_{parts}.jsonl"


def remove_part(directory: Path, part: int) -> None:
    """Remove the scores, the manifest and the journal of a part."""
    scores = (path for path in directory.glob("*_json*.json") if re.fullmatch(rf"\w+_json{part}\.json", path.name))
    for path in (*scores, manifest_path(directory, part), journal_path(directory, str(part))):
        path.unlink(missing_ok=True)


def part_lock(directory: Path, part: int) -> Path:
    """The lock that keeps a second process from evaluating the same part."""
    return directory / f".part{part}.lock"
