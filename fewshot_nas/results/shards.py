"""Files of scores: an accuracy and a code for each arch.

An evaluation writes one file, a shard, for each part of the pool and each metric; `merging` merges
the shards. An evaluation decodes codes when it reads the pool, and encodes archs when it writes its
scores. From there on, up to the report, codes stay text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.results.score_files import shard_path
from fewshot_nas.space.pool import read_arch_file, write_codes
from fewshot_nas.space.space import Space

# By the value of a command's --top.
OF_TOP = MappingProxyType({"1": "top1", "5": "top5", "prob": "prob", "likelihood": "likelihood"})
METRICS = tuple(OF_TOP.values())
# What commands go by unless they are told otherwise: it has no ties, and docs/study.md compares it with the others.
LEADING_TOP = "prob"
BEST_FIRST = (OF_TOP[LEADING_TOP], *(metric for metric in METRICS if metric != OF_TOP[LEADING_TOP]))


def top_of(metric: str) -> str:
    """The value of `--top` that means a metric.

    >>> top_of("top5")
    '5'
    """
    return next(top for top, each in OF_TOP.items() if each == metric)


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one arch from a supernet, in percent; see `evaluation.accuracy.Accuracy`."""

    arch_id: str
    code: str
    top1: float
    top5: float
    prob: float
    likelihood: float

    def __post_init__(self) -> None:
        if not (0 <= self.top1 <= self.top5 <= 100 and 0 <= self.prob <= 100 and 0 <= self.likelihood <= 100):
            raise InputError(
                f"{self.arch_id}: top1 is {self.top1}, top5 is {self.top5}, prob is {self.prob} and likelihood is"
                f" {self.likelihood}, expected percentages with 0 <= top1 <= top5 <= 100"
            )


class Scored(NamedTuple):
    """One entry of an arch file, with its code as text."""

    acc: float
    code: str


def write_shards(directory: Path, part: int, scores: Sequence[Score]) -> None:
    """Write the score files of a part, each whole or not at all."""
    for metric in METRICS:
        scored = {score.arch_id: Scored(getattr(score, metric), score.code) for score in scores}
        assert len(scored) == len(scores), "an arch was scored twice"
        write_scores(shard_path(directory, metric, part), scored)


def write_scores(path: Path, scores: Mapping[str, Scored]) -> None:
    """Write an arch file in the order of `scores`. The file is written whole or not at all."""
    write_codes(path, scores)


def read_scores(path: Path, space: Space) -> dict[str, Scored]:
    """Read an arch file without decoding its codes. The entries keep the file's order.

    Raises:
        InputError: the file is malformed.
    """
    content = read_json(path)
    if (
        isinstance(content, dict)
        and content
        and all(_in_usual_form(value, space.code_length) for value in content.values())
    ):
        return {arch_id: Scored(float(value["acc"]), value["arch"]) for arch_id, value in content.items()}
    # The slow way gives the message for what is wrong, and knows codes without the leading 1.
    return {arch_id: Scored(acc, space.encode(arch)) for arch_id, (acc, arch) in read_arch_file(path, space).items()}


def _in_usual_form(value: Any, code_length: int) -> bool:
    return (
        type(value) is dict
        and len(value) == 2
        and type(value.get("acc")) in (int, float)
        and 0 <= value["acc"] <= 100
        and type(value.get("arch")) is str
        and len(value["arch"]) == code_length
    )
