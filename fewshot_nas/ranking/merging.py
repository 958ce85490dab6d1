"""Joining the parts of an evaluation: only if they are complete and were scored alike.

    results/<save>/<phase>/json_results/<epoch>/top1_json1.json       part 1's scores
                                                manifest1.json        how they came about
                                                ...
                                                top1_json_final.json  what merging writes
                                                manifest_final.json

A shard that is missing, stale or of another pool would distort a ranking silently, so each arch of
each part is accepted exactly once. Codes are compared as they are written: an evaluation has
decoded the pool already, and decoding 45,000 codes twice more would take longer than all else here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.shards import shard_path
from fewshot_nas.space.arch import CODE_LENGTH, Arch, encode
from fewshot_nas.space.cost import Cost, total_cost
from fewshot_nas.space.pool import part_paths, read_arch_file
from fewshot_nas.space.search_space import SearchSpace

Manifest = Mapping[str, Any]
Codes = Mapping[str, str]

_OWN = ("part", "archs")  # what rightly differs from part to part
_RUNS_SHOWN = 10


class Scored(NamedTuple):
    """One line of an arch file, its code as it is written."""

    acc: float
    code: str


@dataclass(frozen=True)
class Network:
    """What the costs of an arch depend on beside the arch."""

    space: SearchSpace
    resolution: int
    num_classes: int = 1000

    def cost(self, arch: Arch) -> Cost:
        """MACs and parameters of a subnet."""
        return total_cost(self.space, arch, resolution=self.resolution, num_classes=self.num_classes)


def merged_path(directory: Path, metric: str) -> Path:
    """Where the merged scores lie; `metric` is one of `shards.METRICS`."""
    return directory / f"{metric}_json_final.json"


def manifest_path(directory: Path, part: int) -> Path:
    """Where a part's manifest lies; all metrics share it."""
    return directory / f"manifest{part}.json"


def merged_manifest_path(directory: Path) -> Path:
    """Where the manifest of the merged scores lies."""
    return directory / "manifest_final.json"


def read_scores(path: Path) -> dict[str, Scored]:
    """Read an arch file without decoding its codes; the order of the file is kept.

    Raises:
        InputError: the file is malformed.
    """
    content = read_json(path)
    if isinstance(content, dict) and content and all(map(_in_usual_form, content.values())):
        return {arch_id: Scored(float(value["acc"]), value["arch"]) for arch_id, value in content.items()}
    # The thorough way finds the words for what is wrong, and knows the short form of codes.
    return {arch_id: Scored(acc, encode(arch)) for arch_id, (acc, arch) in read_arch_file(path).items()}


def read_codes(pool: Path) -> list[dict[str, str]]:
    """The ids and codes of each part of a pool.

    Raises:
        InputError: there is no pool, or an arch id occurs in two parts.
    """
    parts = [{arch_id: scored.code for arch_id, scored in read_scores(path).items()} for path in part_paths(pool)]
    if len(set().union(*parts)) < sum(map(len, parts)):
        raise InputError(f"{pool}: an arch is in two parts; `python -m fewshot_nas.make_pool --check {pool}` names it")
    return parts


def read_manifests(directory: Path, parts: int) -> dict[int, Manifest]:
    """The manifests of parts 1, 2, ... that there are."""
    paths = {part: manifest_path(directory, part) for part in range(1, parts + 1)}
    return {part: read_manifest(path) for part, path in paths.items() if path.exists()}


def read_manifest(path: Path) -> Manifest:
    """Read one manifest.

    Raises:
        InputError: it is not an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f'{path}: expected an object such as {{"precision": "fp32"}}, got {content!r}')
    return content


def objections(directory: Path, manifests: Mapping[int, Manifest], parts: int) -> Iterator[str]:
    """Why parts should not be merged, complete or not: manifests that are missing or differ."""
    for part in range(1, parts + 1):
        if part not in manifests:
            yield f"{manifest_path(directory, part)}: no such file, so nobody knows how part {part} was scored"
    known = list(manifests.items())
    for part, manifest in known[1:]:
        first_part, first = known[0]
        for key in _differing([first, manifest])[:1]:
            yield (
                f"{manifest_path(directory, part)}: {key} is {_shown(manifest, key)}, but"
                f" {_shown(first, key)} in {manifest_path(directory, first_part).name}"
            )


def joined_manifest(manifests: Mapping[int, Manifest], archs: int) -> dict[str, Any]:
    """What holds for all parts, the number of archs, and what differs from part to part if anything does."""
    differing = _differing(list(manifests.values()))
    first: Manifest = next(iter(manifests.values()), {})
    joined = {key: value for key, value in first.items() if key not in (*_OWN, *differing)}
    by_part = {key: {str(part): each.get(key) for part, each in manifests.items()} for key in differing}
    return {**joined, "archs": archs, **({"differing": by_part} if by_part else {})}


def merge_parts(
    directory: Path, metric: str, pool: Sequence[Codes], manifests: Mapping[int, Manifest]
) -> dict[str, Scored]:
    """Join the parts of one metric in the pool's order.

    Args:
        pool: the ids and codes of each part.
        manifests: of the parts; a `limit` N means that the first N archs of a part were scored.

    Raises:
        InputError: a part is missing, incomplete or holds other archs than the pool's part.
    """
    _refuse_surplus(directory, metric, len(pool))
    merged: dict[str, Scored] = {}
    gaps: list[str] = []
    for part, codes in enumerate(pool, start=1):
        path, expected = shard_path(directory, metric, part), _limited(codes, manifests, part)
        scores = read_scores(path) if path.exists() else {}
        _refuse_others(path, scores, expected, part)
        if not scores:
            gaps.append(f"{path.name} does not exist ({len(expected)} archs)")
        elif len(scores) < len(expected):
            gaps.append(f"{path.name} lacks {_abbreviated(expected, scores)}")
        else:
            merged.update((arch_id, scores[arch_id]) for arch_id in expected)
    if gaps:
        raise InputError(f"{directory}: scores are missing: {'; '.join(gaps)}; `python -m fewshot_nas.test` fills them")
    return merged


def write_merged(directory: Path, metric: str, scores: Mapping[str, Scored], manifest: Manifest) -> Path:
    """Write merged scores, each file whole or not at all; return where the scores are."""
    write_json(merged_manifest_path(directory), manifest)
    path = merged_path(directory, metric)
    write_json(path, {arch_id: {"acc": acc, "arch": code} for arch_id, (acc, code) in scores.items()})
    return path


def network_of(manifest: Manifest, where: Path, default: SearchSpace) -> Network:
    """The network that a manifest describes; what it leaves out is the default's.

    Raises:
        InputError: its space is not one.
    """
    space, values = default, manifest.get("space")
    if values is not None:
        try:
            settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
            space = SearchSpace(**settings)
        except (AttributeError, TypeError) as error:
            raise InputError(f"{where}: space does not describe a search space ({error})") from None
    resolution, num_classes = (
        manifest.get(key, usual) for key, usual in (("resolution", space.resolution), ("num_classes", 1000))
    )
    for key, value in (("resolution", resolution), ("num_classes", num_classes)):
        if type(value) is not int or value < 1:
            raise InputError(f"{where}: {key} is {value!r}, expected a positive whole number")
    return Network(space, resolution, num_classes)


def codes_that_differ(archs: Mapping[str, Arch], codes: Codes) -> list[str]:
    """The ids that both sides know, but by another code."""
    return [arch_id for arch_id, arch in archs.items() if arch_id in codes and codes[arch_id] != encode(arch)]


def _in_usual_form(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) == 2
        and type(value.get("acc")) in (int, float)
        and 0 <= value["acc"] <= 100
        and type(value.get("arch")) is str
        and len(value["arch"]) == CODE_LENGTH
    )


def _differing(manifests: Sequence[Manifest]) -> list[str]:
    keys = dict.fromkeys(key for manifest in manifests for key in manifest if key not in _OWN)
    return [key for key in keys if any(each.get(key, ...) != manifests[0].get(key, ...) for each in manifests)]


def _shown(manifest: Manifest, key: str) -> str:
    return repr(manifest[key]) if key in manifest else "absent"


def _limited(codes: Codes, manifests: Mapping[int, Manifest], part: int) -> Codes:
    """The archs of a part that were to be scored; a part without a manifest was scored as the others."""
    others: Manifest = next(iter(manifests.values()), {})
    limit = manifests.get(part, others).get("limit")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InputError(f"the manifest of part {part} has the limit {limit!r}, expected a positive whole number")
    return dict(islice(codes.items(), len(codes) if limit is None else min(limit, len(codes))))


def _refuse_surplus(directory: Path, metric: str, parts: int) -> None:
    for path in sorted(directory.glob(f"{metric}_json*.json")):
        match = re.fullmatch(rf"{metric}_json(\d+)\.json", path.name)
        if match and not 1 <= int(match[1]) <= parts:
            raise InputError(f"{path}: the pool has {parts} parts only; was another pool scored?")


def _refuse_others(path: Path, scores: Mapping[str, Scored], expected: Codes, part: int) -> None:
    for arch_id, scored in scores.items():
        if arch_id not in expected:
            raise InputError(
                f"{path}: {arch_id} is not one of the {len(expected)} archs expected in part {part};"
                " was another pool scored, or with another --limit?"
            )
        if scored.code != expected[arch_id]:
            raise InputError(f"{path}: {arch_id} has the code {scored.code}, expected the pool's {expected[arch_id]}")


def _abbreviated(ids: Codes, present: Mapping[str, Scored]) -> str:
    """The ids that are not present, consecutive ones as a range: `arch12..arch17, arch30 (7 in all)`."""
    runs = [list(run) for absent, run in groupby(ids, lambda arch_id: arch_id not in present) if absent]
    shown = [run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs[:_RUNS_SHOWN]]
    rest = ["..."] if len(runs) > _RUNS_SHOWN else []
    return f"{', '.join(shown + rest)} ({sum(map(len, runs))} in all)"
