"""Merged evaluations, read together: of one pool, of networks of one kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.errors import InputError
from fewshot_nas.results import merged_manifest_path, merged_path
from fewshot_nas.scores.manifests import Manifest, Network, network_of, read_manifest
from fewshot_nas.scores.merging import codes_that_differ
from fewshot_nas.scores.shards import Scored, read_scores
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.pool import Entry, read_arch_file
from fewshot_nas.space.search_space import SearchSpace


@dataclass(frozen=True)
class Evaluation:
    """Merged scores in percent by arch id, and how they came about."""

    directory: Path
    scores: Mapping[str, Scored]
    manifest: Manifest


def read_evaluation(directory: Path, metric: str, pool: Mapping[str, Arch], space: SearchSpace) -> Evaluation:
    """Read what `merge` has written into an evaluation's directory.

    Raises:
        InputError: there are no merged scores, or an arch is not the pool's.
    """
    path = merged_path(directory, metric)
    if not path.exists():
        raise InputError(f"{path}: no such file; `fewshot_nas.merge` with this --top writes it")
    scores = read_scores(path, space)
    for arch_id, scored in scores.items():
        if arch_id not in pool or scored.code != space.encode(pool[arch_id]):
            raise InputError(f"{path}: {arch_id} is another arch in the pool, or none; was another pool scored?")
    manifest = merged_manifest_path(directory)
    return Evaluation(directory, scores, read_manifest(manifest) if manifest.exists() else {})


def common_network(evaluations: Sequence[Evaluation], default: SearchSpace) -> Network:
    """The network that all of them scored.

    Raises:
        InputError: two differ in space, resolution or classes.
    """
    networks = [network_of(each.manifest, merged_manifest_path(each.directory), default) for each in evaluations]
    for each, network in zip(evaluations, networks, strict=True):
        if network != networks[0]:
            raise InputError(
                f"{each.directory} and {evaluations[0].directory} scored networks of another space, resolution or"
                " number of classes; rank them apart"
            )
    return networks[0]


def read_truth(path: Path, pool: Mapping[str, Arch], space: SearchSpace) -> dict[str, Entry]:
    """The ground truth, its archs the pool's; nothing where there is no such file.

    Raises:
        InputError: an arch has another code than in the pool, or is not in it.
    """
    if not path.exists():
        return {}
    truth = read_arch_file(path, space)
    codes = {arch_id: space.encode(pool[arch_id]) for arch_id in truth if arch_id in pool}
    archs = {arch_id: entry.arch for arch_id, entry in truth.items()}
    for arch_id in codes_that_differ(archs, codes, space):
        raise InputError(f"{path}: {arch_id} has another code than in the pool; does it belong to another pool?")
    return {arch_id: entry for arch_id, entry in truth.items() if arch_id in pool}
