"""The one place that knows names under `results/`.

results/<save>/                     the one-shot phase
results/<save>/<phase>/             a few-shot phase: 2, 3_from_2, ..., 7_from_6, depth34x2_from_2, ...
    last.pth                        state for resuming
    <tau>_<epoch>.pth               candidates
    supernet.pth                    the chosen one
    config.yml manifest.json log.jsonl events/
    json_results/epoch<E>[_all_test][_sample<N>]/   an evaluation, of all archs or of a sample
        journal_<parts>_0.jsonl     finished work units, while it runs
        <metric>_json<part>.json    a part's scores by top1, top5 or prob
        manifest<part>.json         how they were made
        <metric>_json_final.json    all parts, merged
        manifest_final.json
        <metric>_json_filled.json   for a sample: the same, and predictions for all other archs
results/<save>/stand_alone/<arch>_seed<n>/   a training from scratch
    subnet.pth result.json          the network, and its accuracies
results/<save>/gt_arch30.json       the ground truth made from these
results/<save>/rank/                the ranker's predictions for the whole pool
    predicted.json error.json       arch files: accuracies, and their standard deviations
    predicted.csv                   the same beside the archs' costs, as a table
    ranking.json                    how well each ranking orders the truth
results/<save>/finetune/<search>[_scratch]_seed<n>/   a found arch's training; without a search, <phase>_<code>
    subnet.pth result.json          the network, and its accuracies
results/<save>/searches/<name>/     a search under bounds
    journal.jsonl                   the scores of each generation, as soon as it is scored
    found.json front.csv            all archs that were scored, and those that none beats
results/<save>/latency/             tables of latencies, one for each device and way to run
results/<save>/report.html
results/<save>/search/              a Cream search: board.json after each epoch, path.json at the end
results/<save>/retrain_<name>/      a Cream retraining: <name>.pth.tar at the end
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.errors import InputError
from fewshot_nas.space.split import MAX_GROUPS

ROOT = Path("results")


# A split by width is named by its number of groups. No other directory of a run has a name like the other splits'.
_PART = rf"[1-{MAX_GROUPS}]|depth\d+x\d|table-[a-z0-9]+"
_SPLIT = rf"(?:{_PART})(?:-(?:{_PART}))*"


@dataclass(frozen=True)
class Phase:
    """A phase of training: the names of its split and of its parent's split ("" for the one-shot phase).

    A split by width is named by its number of groups, so the one-shot phase is 1.
    """

    split: str
    parent: str

    def __post_init__(self) -> None:
        numbers = [int(name) for name in (self.split, self.parent or "0") if name.isdigit()]
        falls = len(numbers) == 2 and not numbers[1] < numbers[0]
        if (self.split == "1") != (self.parent == "") or falls or max(numbers, default=0) > MAX_GROUPS:
            raise InputError(
                f"a phase with {self.split} groups cannot follow one with {self.parent or 0},"
                f" expected more groups than its parent has, and at most {MAX_GROUPS}"
            )
        for name in (self.split, self.parent or "1"):
            if not re.fullmatch(_SPLIT, name):
                raise InputError(f"{name!r} is not the name of a split, expected 2, depth34x2, table-mine, ...")

    @property
    def name(self) -> str:
        """`1`, `2`, `3_from_2`, `depth34x2`, ...; after the one-shot phase, a phase has the name of its split alone."""
        return self.split if self.parent in ("", "1") else f"{self.split}_from_{self.parent}"

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
            raise InputError(f"{name!r} is not a phase, expected 1, 2, 3_from_2, depth34x2, ...")
        return cls(match[1], match[2] or ("" if name == "1" else "1"))


ONE_SHOT = Phase("1", "")


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
        pattern = re.compile(r"(nan|-?\d\.\d{4})_\d+\.pth")
        return [path for path in self.path.glob("*.pth") if pattern.fullmatch(path.name)]

    def candidate(self, tau: float, epoch: int) -> Path:
        """A checkpoint worth keeping, named as the competition's solution names them."""
        return self.path / f"{tau:.4f}_{epoch}.pth"

    def model(self, name: str) -> Path:
        """A checkpoint by the name that `--model_name` takes.

        Raises:
            InputError: the name leads out of the directory.
        """
        if Path(name).name != name:
            raise InputError(f"--model_name is {name!r}, expected the name of a file in {self.path} such as supernet")
        return self.path / f"{name.removesuffix('.pth')}.pth"

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
        """As of every run, and the result."""
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
    directory = ROOT.joinpath(*parts)
    for path in (directory, *directory.parents):
        if path.exists() and not path.is_dir():
            raise InputError(f"--save is {save!r}, but {path} is a file, expected a directory or nothing")
    return directory


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


def finetune_directory(save: str, name: str, seed: int, *, scratch: bool) -> NetworkDirectory:
    """The directory of a found arch's training.

    Args:
        name: of the search that found it, or the phase and the code.
    """
    start = "_scratch" if scratch else ""
    return NetworkDirectory(run_directory(save) / "finetune" / f"{name}{start}_seed{seed}")


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


def trainings(save: str) -> Iterator[PhaseDirectory]:
    """The directories of a run's trainings: its phases in their order, then networks from scratch."""
    yield from (phase_directory(save, phase) for phase in known_phases(save))
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


def evaluation_name(epoch: int, on_test: bool, sample: int | None = None) -> str:
    """The name that `--epoch` uses for an evaluation: `17`, `17_all_test`, `17_sample2000`, ...."""
    return f"{epoch}{'_all_test' if on_test else ''}{'' if sample is None else f'_sample{sample}'}"


def epoch_of(directory: Path) -> str:
    """The name that `--epoch` uses for the evaluation in a directory of `PhaseDirectory.scores`."""
    return directory.name.removeprefix("epoch")


def is_evaluation_name(text: str) -> bool:
    """Whether `evaluation_name` can have made this name."""
    return re.fullmatch(r"\d+(_all_test)?(_sample\d+)?", text) is not None


def shard_path(directory: Path, metric: str, part: int) -> Path:
    """The scores of part 1, 2, ... by a metric (top1, top5 or prob), in an evaluation's directory."""
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
    """The merged scores by a metric."""
    return directory / f"{metric}_json_final.json"


def filled_path(directory: Path, metric: str) -> Path:
    """Merged scores of a sample, and predicted ones for all other archs of the pool."""
    return directory / f"{metric}_json_filled.json"


def merged_manifest_path(directory: Path) -> Path:
    """The manifest of the merged scores."""
    return directory / "manifest_final.json"


def journal_path(directory: Path, parts: str) -> Path:
    """The journal of an unfinished evaluation of some parts: `3`, `1-8`, `1,3`."""
    return directory / f"journal_{parts}_0.jsonl"


def journals(directory: Path, parts: str) -> list[Path]:
    """All journals of these parts; in earlier versions each rank wrote one."""
    return sorted(directory.glob(f"journal_{parts}_*.jsonl"))


def part_lock(directory: Path, part: int) -> Path:
    """The lock that keeps a second process from evaluating the same part."""
    return directory / f".part{part}.lock"
