"""Scores in files: one shard per part of the pool and metric; `merging` joins them.

top1_json1.json    part 1's archs, top-1 accuracy
top5_json1.json    the same archs, top-5 accuracy
prob_json1.json    the same archs, mean probability of the label
top1_json2.json    part 2's archs ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fewshot_nas.errors import InputError
from fewshot_nas.space.arch import decode
from fewshot_nas.space.pool import Entry, write_arch_file

OF_TOP = MappingProxyType({"1": "top1", "5": "top5", "prob": "prob"})  # by what a command's --top is given
METRICS = tuple(OF_TOP.values())


@dataclass(frozen=True, slots=True)
class Score:
    """What a supernet says of one arch: accuracies and the label's mean probability, in percent."""

    arch_id: str
    code: str
    top1: float
    top5: float
    prob: float

    def __post_init__(self) -> None:
        if not (0 <= self.top1 <= self.top5 <= 100 and 0 <= self.prob <= 100):
            raise InputError(
                f"{self.arch_id}: top1 is {self.top1}, top5 is {self.top5} and prob is {self.prob}, "
                "expected percentages with 0 <= top1 <= top5 <= 100"
            )
        try:
            decode(self.code)
        except InputError as error:
            raise InputError(f"{self.arch_id}: {error}") from None


def shard_path(directory: Path, metric: str, part: int) -> Path:
    """Where the scores of part 1, 2, ... lie; `metric` is one of `METRICS`."""
    return directory / f"{metric}_json{part}.json"


def write_shards(directory: Path, part: int, scores: Sequence[Score]) -> None:
    """Write a part's files, each whole or not at all."""
    scored = {score.arch_id: (score, decode(score.code)) for score in scores}
    assert len(scored) == len(scores), "an arch was scored twice"
    for metric in METRICS:
        entries = {arch_id: Entry(getattr(score, metric), arch) for arch_id, (score, arch) in scored.items()}
        write_arch_file(shard_path(directory, metric, part), entries)
