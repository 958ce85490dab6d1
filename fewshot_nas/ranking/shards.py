"""Scores in files: one shard per part of the pool and metric, merged into one complete file.

    top1_json1.json    part 1's archs, top-1 accuracy
    top5_json1.json    the same archs, top-5 accuracy
    top1_json2.json    part 2's archs ...

Each part is scored on its own, perhaps on its own machine. A shard that is missing, stale or
given twice would distort a ranking silently, so merging accepts each arch of the pool exactly once.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fewshot_nas.errors import InputError
from fewshot_nas.space.arch import Arch, decode, encode
from fewshot_nas.space.pool import Entry, read_arch_file, write_arch_file

METRICS = ("top1", "top5")
_RUNS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Score:
    """What a supernet says of one arch: top-1 and top-5 accuracy in percent."""

    arch_id: str
    code: str
    top1: float
    top5: float

    def __post_init__(self) -> None:
        if not 0 <= self.top1 <= self.top5 <= 100:
            raise InputError(
                f"{self.arch_id}: top1 is {self.top1} and top5 is {self.top5}, "
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
    """Write a part's two files, each whole or not at all."""
    scored = {score.arch_id: (score, decode(score.code)) for score in scores}
    assert len(scored) == len(scores), "an arch was scored twice"
    for metric in METRICS:
        entries = {arch_id: Entry(getattr(score, metric), arch) for arch_id, (score, arch) in scored.items()}
        write_arch_file(shard_path(directory, metric, part), entries)


def read_shard(path: Path, pool: Mapping[str, Arch]) -> dict[str, Entry]:
    """Read one shard, all of whose archs must be the pool's.

    Raises:
        InputError: the file is malformed, or an arch id or its code is not the pool's.
    """
    entries = read_arch_file(path)
    for arch_id, entry in entries.items():
        if arch_id not in pool:
            raise InputError(f"{path}: {arch_id} is not in the pool of {len(pool)} archs; was another pool scored?")
        if entry.arch != pool[arch_id]:
            codes = f"{encode(entry.arch)}, expected the pool's {encode(pool[arch_id])}"
            raise InputError(f"{path}: {arch_id} has the code {codes}")
    return entries


def merge_shards(
    shards: Sequence[Path], expected: Mapping[str, Arch] | Sequence[Mapping[str, Arch]]
) -> dict[str, Entry]:
    """Join the shards of one metric into one mapping in the pool's order.

    Args:
        shards: the files, in any order.
        expected: the pool, whole or in its parts; given parts, a refusal names the missing ones.

    Raises:
        InputError: a shard is refused by `read_shard`, an arch is in two shards or in none.
    """
    if not shards:
        raise InputError("no shards to merge, expected one file for each part of the pool")
    parts = [expected] if isinstance(expected, Mapping) else expected
    pool = {arch_id: arch for part in parts for arch_id, arch in part.items()}
    assert len(pool) == sum(map(len, parts)), "the pool's parts overlap"
    merged: dict[str, Entry] = {}
    homes: dict[str, Path] = {}
    for path in sorted(shards):
        entries = read_shard(path, pool)
        for arch_id in entries:
            if arch_id in homes:
                raise InputError(f"{path}: {arch_id} is also in {homes[arch_id]}, expected each arch in one shard")
        homes.update(dict.fromkeys(entries, path))
        merged.update(entries)
    if len(merged) < len(pool):
        raise InputError(f"{min(shards).parent}: scores are missing; {'; '.join(_gaps(parts, homes))}")
    return {arch_id: merged[arch_id] for arch_id in pool}


def _gaps(parts: Sequence[Mapping[str, Arch]], homes: Mapping[str, Path]) -> Iterator[str]:
    """What each incomplete part lacks, and in which file it should be."""
    for number, part in enumerate(parts, start=1):
        missing = [arch_id for arch_id in part if arch_id not in homes]
        if len(missing) == len(part):
            yield f"no file holds part {number}: {_abbreviated(part, homes)}"
        elif missing:
            files = sorted({homes[arch_id].name for arch_id in part if arch_id in homes})
            yield f"{', '.join(files)} without {_abbreviated(part, homes)}"


def _abbreviated(ids: Iterable[str], present: Container[str]) -> str:
    """The ids that are not present, consecutive ones as a range: `arch12..arch17, arch30 (7 in all)`."""
    runs = [list(run) for absent, run in groupby(ids, lambda arch_id: arch_id not in present) if absent]
    shown = [run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs[:_RUNS_SHOWN]]
    rest = ["..."] if len(runs) > _RUNS_SHOWN else []
    return f"{', '.join(shown + rest)} ({sum(map(len, runs))} in all)"
