"""Merging the parts of an evaluation, if they are complete.

A shard that is missing, outdated or of another pool would silently distort a ranking, so each arch of
each part is accepted exactly once. Codes are compared as text. The evaluation has decoded them
already, and decoding 45,000 codes twice more would take longer than the rest of the merge.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import command_line
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import BESIDE, merged_manifest_path, merged_path, parts_with_scores, shard_path
from fewshot_nas.results.scores import Manifest, Scored, read_scores
from fewshot_nas.space.pool import changed_settings, part_paths, write_codes
from fewshot_nas.space.space import Space

CodesById = Mapping[str, str]

_RUNS_SHOWN = 10


class IncompleteError(InputError):
    """Scores are missing.

    Attributes:
        parts: the parts that are not complete.
    """

    def __init__(self, message: str, parts: Sequence[int]) -> None:
        super().__init__(message)
        self.parts = parts


def read_codes(pool: Path, space: Space) -> list[dict[str, str]]:
    """The ids and codes of each part of a pool.

    Raises:
        InputError: there is no pool, or an arch id occurs in two parts.
    """
    parts = [
        {arch_id: scored.code for arch_id, scored in read_scores(path, space).items()}
        for path in part_paths(pool, space)
    ]
    if len(set().union(*parts)) < sum(map(len, parts)):
        check = command_line("make_pool", *changed_settings(space), check=pool)
        raise InputError(f"{pool}: an arch is in two parts; `{check}` names it")
    return parts


def merge_parts(
    directory: Path,
    metric: str,
    pool: Sequence[CodesById],
    manifests: Mapping[int, Manifest],
    space: Space,
    parts: Collection[int] | None = None,
) -> dict[str, Scored]:
    """Merge the parts of one metric, in the pool's order.

    Args:
        pool: the ids and codes of each part.
        manifests: of the parts. With `limit` N, the first N archs of a part were scored; with
            `sample`, as many archs of the part as `archs` says. The archs of part `BESIDE` come last.
        parts: the parts to merge, 1, 2, ...; all if None.

    Raises:
        IncompleteError: a part is missing or incomplete.
        InputError: a part holds archs that are not in the pool's part.
    """
    _refuse_surplus(directory, metric, len(pool))
    merged: dict[str, Scored] = {}
    gaps: dict[int, str] = {}
    for part, codes in enumerate(pool, start=1):
        if parts is not None and part not in parts:
            continue
        path, expected = shard_path(directory, metric, part), _limited(codes, manifests, part)
        sampled = _sampled(manifests, part)
        wanted = len(expected) if sampled is None else sampled
        scores = read_scores(path, space) if wanted and path.exists() else {}
        _refuse_others(path, scores, expected, part)
        if len(scores) == wanted:
            merged.update((arch_id, scores[arch_id]) for arch_id in expected if arch_id in scores)
        elif not scores:
            gaps[part] = f"{path.name} does not exist ({wanted} archs)"
        elif sampled is not None:
            gaps[part] = f"{path.name} has {len(scores)} of the {wanted} archs that were sampled"
        else:
            gaps[part] = f"{path.name} lacks {_abbreviated(expected, scores)}"
    if BESIDE in manifests and not gaps:
        path, ids = shard_path(directory, metric, BESIDE), manifests[BESIDE]["beside"]
        codes = {arch_id: code for part_codes in pool for arch_id, code in part_codes.items()}
        scores = read_scores(path, space)
        _refuse_others(path, scores, {arch_id: codes.get(arch_id, arch_id.removeprefix("code")) for arch_id in ids}, 0)
        merged |= scores
    if gaps:
        raise IncompleteError(f"{directory}: scores are missing: {'; '.join(gaps.values())}", list(gaps))
    return merged


def write_merged(directory: Path, metric: str, scores: Mapping[str, Scored], manifest: Manifest) -> Path:
    """Write merged scores and their manifest, each file whole or not at all. Returns the path of the scores."""
    write_json(merged_manifest_path(directory), manifest)
    path = merged_path(directory, metric)
    write_codes(path, scores)
    return path


def _limited(codes: CodesById, manifests: Mapping[int, Manifest], part: int) -> CodesById:
    """The archs of a part that were to be scored; a part without a manifest is taken to be like the others."""
    others: Manifest = next(iter(manifests.values()), {})
    limit = manifests.get(part, others).get("limit")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InputError(f"the manifest of part {part} has the limit {limit!r}, expected a positive whole number")
    return dict(islice(codes.items(), len(codes) if limit is None else min(limit, len(codes))))


def _sampled(manifests: Mapping[int, Manifest], part: int) -> int | None:
    """The number of a part's archs that were in the sample; None if the evaluation was not of a sample."""
    manifest = manifests.get(part, {})
    if manifest.get("sample") is None:
        return None
    archs = manifest.get("archs")
    if type(archs) is not int or archs < 0:
        raise InputError(f"the manifest of part {part} has {archs!r} archs, expected a whole number")
    return archs


def _refuse_surplus(directory: Path, metric: str, parts: int) -> None:
    for part, path in parts_with_scores(directory, metric).items():
        if not BESIDE <= part <= parts:
            raise InputError(f"{path}: the pool has {parts} parts only; was another pool scored?")


def _refuse_others(path: Path, scores: Mapping[str, Scored], expected: CodesById, part: int) -> None:
    for arch_id, scored in scores.items():
        if arch_id not in expected:
            raise InputError(
                f"{path}: {arch_id} is not one of the {len(expected)} archs expected in part {part};"
                " was another pool scored, or with another --limit?"
            )
        if scored.code != expected[arch_id]:
            raise InputError(f"{path}: {arch_id} has the code {scored.code}, expected the pool's {expected[arch_id]}")


def _abbreviated(ids: CodesById, present: Mapping[str, Scored]) -> str:
    """The ids that are not present, with consecutive ones as a range: `arch12..arch17, arch30 (7 in all)`."""
    runs = [list(run) for absent, run in groupby(ids, lambda arch_id: arch_id not in present) if absent]
    shown = [run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs[:_RUNS_SHOWN]]
    rest = ["..."] if len(runs) > _RUNS_SHOWN else []
    return f"{', '.join(shown + rest)} ({sum(map(len, runs))} in all)"
