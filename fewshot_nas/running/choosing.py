"""The choice of the epoch that becomes a phase's supernet, by the present ground truth, and again when that changes."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.ranking.correlation import FEWEST, agreement
from fewshot_nas.ranking.interval import UNDEFINED, Interval
from fewshot_nas.records.files import replacing, sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.space.pool import Entry, read_arch_file
from fewshot_nas.space.space import Space
from fewshot_nas.training.log import RunLog, last_choice
from fewshot_nas.training.supernet_task import LOGGED, Candidate, choose, rule, shared_scores


@dataclass(frozen=True)
class Truth:
    """A ground truth as it was read; empty if there is no such file."""

    path: Path
    entries: Mapping[str, Entry]
    digest: str | None

    @classmethod
    def read(cls, path: Path, space: Space) -> "Truth":
        """Read a ground truth from a file.

        Raises:
            InputError: the file is malformed, or of another space.
        """
        if not path.exists():
            return cls(path, {}, None)
        return cls(path, read_arch_file(path, space), sha256(path))

    @property
    def noted(self) -> dict[str, str] | None:
        return {"path": str(self.path), "sha256": self.digest} if self.digest else None


@dataclass(frozen=True)
class MeasuredEpoch:
    """A kept checkpoint, and how well its supernet ranks a ground truth.

    Attributes:
        scores: of the truth's archs, in percent, by metric.
    """

    candidate: Candidate
    path: Path
    tau: Interval
    scores: Mapping[str, Mapping[str, float]]


def chosen_by(directory: PhaseDirectory) -> str | None:
    """Digest of the ground truth by which a finished phase's epoch was chosen; None if there was none."""
    return (last_choice(directory.log).get("ground_truth") or {}).get("sha256")


def measured_epochs(directory: PhaseDirectory, truth: Truth, inputs: Inputs) -> list[MeasuredEpoch]:
    """Measure the kept checkpoints of a phase by a ground truth, in this process.

    Raises:
        InputError: a checkpoint is damaged.
    """
    return [_measured(path, truth, inputs) for path in sorted(directory.candidates(), key=_epoch)]


def _measured(path: Path, truth: Truth, inputs: Inputs) -> MeasuredEpoch:
    supernet = load_supernet(path, inputs.device)
    archs = {arch_id: entry.arch for arch_id, entry in truth.entries.items()}
    found = shared_scores(supernet, archs, inputs, World(0, 1, inputs.device))
    scores = {metric: {key: getattr(each, metric) for key, each in found.items()} for metric in LOGGED}
    tau = UNDEFINED
    if len(archs) >= FEWEST:
        tau = agreement(scores["prob"], {key: entry.acc for key, entry in truth.entries.items()}).kendall
    return MeasuredEpoch(Candidate(_epoch(path), tau.value, tau.error), path, tau, scores)


def _epoch(path: Path) -> int:
    """The number in a candidate's name, such as 17 in `0.8100_17.pth`."""
    found = re.search(r"_(\d+)\.pth$", path.name)
    assert found
    return int(found[1])


def choose_anew(directory: PhaseDirectory, epochs: Sequence[MeasuredEpoch], truth: Truth, log: RunLog) -> str:
    """Make the best of the measured epochs the phase's supernet, and name each file by its new tau.

    Returns:
        A line for the user that says what was done.
    """
    best = choose([each.candidate for each in epochs])
    renamed = {
        each.candidate: each.path.rename(directory.candidate(each.candidate.tau, each.candidate.epoch))
        for each in epochs
    }
    scores = next(each.scores for each in epochs if each.candidate == best)
    return publish(directory, best, renamed[best], truth, log, scores)


def publish(
    directory: PhaseDirectory,
    chosen: Candidate,
    path: Path,
    truth: Truth,
    log: RunLog,
    scores: Mapping[str, Any] | None = None,
) -> str:
    """Publish a choice: write it to the log, and copy its checkpoint, `path`, to the phase's supernet.

    Args:
        scores: of the truth's archs by metric, if they were measured for this choice alone.

    Returns:
        A line for the user that says what was done.
    """
    noted = {"file": path.name, **asdict(chosen), "rule": rule(chosen), "ground_truth": truth.noted}
    log.write({"chosen": {**noted, **({"scores": scores} if scores else {})}})
    with path.open("rb") as source, replacing(directory.chosen) as target:
        shutil.copyfileobj(source, target)
    return f"chose epoch {chosen.epoch + 1} ({path.name}; file names count from 0), {rule(chosen)}: {directory.chosen}"
