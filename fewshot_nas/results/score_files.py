"""The files of an evaluation, in its directory, and the directory's name."""

import re
from pathlib import Path


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


BESIDE = 0  # the part of a sample that holds the ground truth's archs, which are scored beside it


def shard_path(directory: Path, metric: str, part: int) -> Path:
    """The scores of part 1, 2, ..., or `BESIDE`, by a metric (top1, top5 or prob), in an evaluation's directory."""
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
    return directory / f"journal_{parts}.jsonl"


def remove_part(directory: Path, part: int) -> None:
    """Remove the scores, the manifest and the journal of a part."""
    scores = (path for path in directory.glob("*_json*.json") if re.fullmatch(rf"\w+_json{part}\.json", path.name))
    for path in (*scores, manifest_path(directory, part), journal_path(directory, str(part))):
        path.unlink(missing_ok=True)


def part_lock(directory: Path, part: int) -> Path:
    """The lock that keeps a second process from evaluating the same part."""
    return directory / f".part{part}.lock"
