"""Reading merged evaluations, and checking that they are of the same pool and of the same kind of network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.errors import InputError
from fewshot_nas.results.score_files import epoch_of, merged_manifest_path, merged_path
from fewshot_nas.scores.manifests import Manifest, Network, network_of, read_manifest
from fewshot_nas.scores.merging import CodesById, codes_that_differ
from fewshot_nas.scores.shards import Scored, read_scores
from fewshot_nas.space.pool import Entry, read_arch_file
from fewshot_nas.space.search_space import SearchSpace


@dataclass(frozen=True)
class Evaluation:
    """Merged scores in percent by arch id, and how they were made."""

    directory: Path
    scores: Mapping[str, Scored]
    manifest: Manifest

    @property
    def epoch(self) -> str:
        """The name that `--epoch` uses for this evaluation."""
        return epoch_of(self.directory)

    @property
    def parts(self) -> str:
        """The pool's parts that were merged, such as `parts 1-2 of 8`; empty if all were."""
        return "parts {parts} of {pool_parts}".format(**self.manifest) if "parts" in self.manifest else ""


def read_evaluation(directory: Path, metric: str, default: SearchSpace) -> Evaluation:
    """Read what `merge` has written into an evaluation's directory.

    Args:
        default: the space, if the manifest does not describe one.

    Raises:
        InputError: there are no merged scores, or one of the files is malformed.
    """
    path = merged_path(directory, metric)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; expected the directory of an evaluation whose scores by {metric} are merged, such"
            " as results/save/json_results/epoch17"
        )
    described = merged_manifest_path(directory)
    manifest = read_manifest(described) if described.exists() else {}
    return Evaluation(directory, read_scores(path, network_of(manifest, described, default).space), manifest)


def refuse_other_pool(evaluation: Evaluation, codes: CodesById) -> None:
    """Check that all scored archs belong to the pool.

    Args:
        codes: of the pool, by arch id.

    Raises:
        InputError: names the first arch that does not.
    """
    for arch_id, scored in evaluation.scores.items():
        if codes.get(arch_id) != scored.code:
            raise InputError(
                f"{evaluation.directory}: {arch_id} has another code than in the pool, or is not in the pool;"
                " was another pool scored?"
            )


def common_network(evaluations: Sequence[Evaluation], default: SearchSpace) -> Network:
    """The space, resolution and number of classes that all evaluations have in common.

    Raises:
        InputError: two evaluations differ in one of these.
    """
    networks = [network_of(each.manifest, merged_manifest_path(each.directory), default) for each in evaluations]
    for each, network in zip(evaluations, networks, strict=True):
        if network != networks[0]:
            raise InputError(
                f"{each.directory} and {evaluations[0].directory} scored networks that differ in space, resolution or"
                " number of classes; rank them separately"
            )
    return networks[0]


def read_truth(path: Path, codes: CodesById, space: SearchSpace) -> dict[str, Entry]:
    """The entries of the ground truth whose archs are in the pool; empty if there is no such file.

    Args:
        codes: of the pool, by arch id.

    Raises:
        InputError: an arch has another code than in the pool.
    """
    if not path.exists():
        return {}
    truth = read_arch_file(path, space)
    archs = {arch_id: entry.arch for arch_id, entry in truth.items()}
    for arch_id in codes_that_differ(archs, codes, space):
        raise InputError(f"{path}: {arch_id} has another code than in the pool; does it belong to another pool?")
    return {arch_id: entry for arch_id, entry in truth.items() if arch_id in codes}
