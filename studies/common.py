"""Where the studies find the project's files and their test beds, and how they collect a run's truths and scores."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fewshot_nas.config import load_config
from fewshot_nas.records.files import read_json
from fewshot_nas.results.directories import shard_path
from fewshot_nas.space.pool import read_arch_file, write_arch_file
from fewshot_nas.space.resnet import ResNetSpace

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "studies"
FILES = ROOT / "json_file"  # pools and ground truths
METRICS = ("top1", "prob")  # the scores that are kept

Scores = dict[str, float]


def space_of(bed: str) -> ResNetSpace:
    """The space of a test bed, by the name of its settings in configs/."""
    space = load_config(ROOT / "configs" / f"{bed}.yml").space.build()
    assert isinstance(space, ResNetSpace)
    return space


def print_tables(
    doc: str | None,
    argv: Sequence[str] | None,
    study: Path,
    collect: Callable[[Path], None],
    lines: Callable[[Any], Iterable[str]],
) -> int:
    """What a study's table module does: collect from results/ if `--collect` says so, then print the tables."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="renew the committed numbers from results/")
    if parser.parse_args(argv).collect:
        collect(ROOT / "results")
    print("\n".join(lines(read_json(study))))
    return 0


def copy_truth(truth: Path, home: Path, bed: str) -> None:
    """Copy a ground truth and its accuracies on test images."""
    for path in (truth, truth.with_stem(f"{truth.stem}_test")):
        write_arch_file(home / path.name, space_of(bed), read_arch_file(path, space_of(bed)))


def runs_of(truth: Path, split: str) -> dict[str, list[float]]:
    """Accuracies of each arch of a ground truth, one per seed in the order of the seeds."""
    found = [read_json(path) for path in truth.with_suffix(".runs").glob("*.json")]
    runs: dict[str, list[float]] = {}
    for each in sorted(found, key=lambda each: (int(each["arch_id"].removeprefix("arch")), each["seed"])):
        runs.setdefault(each["arch_id"], []).append(each[split])
    return runs


def scores_of(directory: Path, archs: Iterable[str], bed: str) -> dict[str, Scores]:
    """The scores of some archs in an evaluation's first part, by score and arch."""
    files = {metric: read_arch_file(shard_path(directory, metric, 1), space_of(bed)) for metric in METRICS}
    wanted = list(archs)
    return {
        metric: {arch_id: entries[arch_id].acc for arch_id in wanted if arch_id in entries}
        for metric, entries in files.items()
    }
