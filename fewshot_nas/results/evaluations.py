"""Merged evaluations: which one counts, whether several are of one pool, and whether anything was learned."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, sha256
from fewshot_nas.records.journal import records
from fewshot_nas.results.directories import PhaseDirectory, epoch_of, merged_manifest_path, merged_path, on_test
from fewshot_nas.results.merging import CodesById
from fewshot_nas.results.scores import (
    BEST_FIRST,
    LEADING,
    METRICS,
    Manifest,
    Network,
    Scored,
    leading,
    network_of,
    read_manifest,
    read_scores,
)
from fewshot_nas.space.pool import Entry, id_beside, read_arch_file, read_codes
from fewshot_nas.space.space import Space

_ERRORS = 2  # standard errors that luck may add
_MOST = 99.9  # where every image is right, something was learned


def by_guessing(most: int, images: int) -> float:
    """The top-1 in percent that naming one class for every image reaches at most: its share, and two standard errors.

    Args:
        most: how many of the images are of the most frequent class.

    >>> by_guessing(10, 100)
    16.0
    """
    share = most / images
    return round(min(100 * share + _ERRORS * 100 * math.sqrt(share * (1 - share) / images), _MOST), 4)


def no_better(top1: Iterable[float], guessing: float) -> str:
    """A warning if these top-1, in percent, are together no better than guessing; otherwise nothing.

    Their mean decides, because among many the best one is above by luck.

    >>> no_better([10.0, 30.0], 16.0)
    ''
    >>> no_better([5.0, 15.0], 13.0).partition(", and")[0]
    'warning: the mean top-1 of 2 networks is 10.00 %'
    """
    known = list(top1)
    mean = sum(known) / len(known)
    if mean > guessing:
        return ""
    alone = len(known) == 1
    what = "top-1 is" if alone else f"mean top-1 of {len(known)} networks is"
    return (
        f"warning: the {what} {mean:.2f} %, and naming one class for every image reaches up to {guessing:.2f} %, chance"
        f" included: nothing was learned{'' if alone else ', and no ranking by it means anything'}; train longer, lower"
        " the learning rate, or look at the labels"
    )


@dataclass(frozen=True)
class Evaluation:
    """Merged scores in percent by arch id, and how they were made."""

    directory: Path
    scores: Mapping[str, Scored]
    manifest: Manifest

    @property
    def epoch(self) -> str:
        return epoch_of(self.directory)

    @property
    def beside(self) -> frozenset[str]:
        """The ids of the ground truth's archs that were scored beside a sample."""
        return frozenset(self.manifest.get("beside", ()))

    @property
    def parts(self) -> str:
        """The pool's parts that were merged, such as `parts 1-2 of 8`; empty if all were."""
        return "parts {parts} of {pool_parts}".format(**self.manifest) if "parts" in self.manifest else ""


def merged_evaluations(phase: PhaseDirectory, metric: str | None = None) -> list[Path]:
    """The directories of a phase's evaluations whose scores are merged; the one that counts is the first.

    Every command goes by the first: `rank`, `report` and `search` cannot speak of different ones. First come scores of
    the phase's present supernet, then those on the ranking images, because test images are to choose nothing; then
    more archs, then later epochs.

    Args:
        metric: those merged by it; by default, those merged by any.
    """
    wanted = {metric} if metric else set(METRICS)
    found = [path for path in phase.evaluations().values() if wanted & {*merged_by(path)}]
    if len(found) < 2:
        return found
    manifests = {path: _manifest_of(path) for path in found}
    digests = {manifest.get("checkpoint_sha256") for manifest in manifests.values()}
    present = sha256(phase.chosen) if len(digests) > 1 and phase.chosen.exists() else None

    def weight(path: Path) -> tuple[bool, bool, int, int, str]:
        number = re.match(r"\d+", epoch_of(path))
        of_present = manifests[path].get("checkpoint_sha256") == present
        archs = len(read_json(merged_path(path, metric or merged_by(path)[0])))
        return of_present, not on_test(path), archs, int(number[0]) if number else 0, path.name

    return sorted(found, key=weight, reverse=True)


def merged_by(evaluation: Path) -> list[str]:
    """The metrics by which the scores of an evaluation's directory are merged."""
    return [metric for metric in BEST_FIRST if merged_path(evaluation, metric).exists()]


def leading_of(evaluations: Sequence[Path]) -> str:
    """The metric that ranks the archs of these evaluations best, of those by which all of them are merged."""
    known = [metric for metric in BEST_FIRST if all(merged_path(path, metric).exists() for path in evaluations)]
    top1 = [path for path in evaluations if "top1" in known]
    first = leading(acc for path in top1 for acc, _ in read_codes(merged_path(path, "top1"), str).values())
    return first if first in known else (*known, LEADING)[0]


def leading_metric(phases: Sequence[PhaseDirectory]) -> str:
    """The metric that commands go by where `--top` does not say: that of the last phase that was scored.

    It is that of the evaluation that counts; where nothing is merged, that of training's last measurement.
    """
    for phase in reversed(phases):
        if merged := merged_evaluations(phase):
            return leading_of(merged[:1])
    noted = (record.get("chosen", record).get("metric") for phase in phases for record in records(phase.log))
    known: list[str] = [metric for metric in noted if metric in METRICS]
    return known[-1] if known else LEADING


def _manifest_of(directory: Path) -> Manifest:
    path = merged_manifest_path(directory)
    return read_manifest(path) if path.exists() else {}


def read_evaluation(directory: Path, metric: str, default: Space) -> Evaluation:
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
    manifest = _manifest_of(directory)
    space = network_of(manifest, merged_manifest_path(directory), default).space
    return Evaluation(directory, read_scores(path, space), manifest)


def refuse_other_pool(evaluation: Evaluation, codes: CodesById) -> None:
    """Check that all scored archs belong to the pool, or were scored beside it.

    Args:
        codes: of the pool, by arch id.

    Raises:
        InputError: names the first arch that does not.
    """
    for arch_id, scored in evaluation.scores.items():
        if codes.get(arch_id, scored.code if arch_id == id_beside(scored.code) else None) != scored.code:
            raise InputError(
                f"{evaluation.directory}: {arch_id} has another code than in the pool, or is not in the pool;"
                " was another pool scored?"
            )


def common_network(evaluations: Sequence[Evaluation], default: Space) -> Network:
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


def read_truth(path: Path, codes: CodesById, space: Space) -> dict[str, Entry]:
    """The ground truth under the pool's ids; an arch that the pool lacks is called by its code. Empty without a file.

    The file's own ids do not count: another pool's `arch1` is another arch.

    Args:
        codes: of the pool, by arch id.
    """
    if not path.exists():
        return {}
    ids = {code: arch_id for arch_id, code in codes.items()}
    coded = ((space.encode(entry.arch), entry) for entry in read_arch_file(path, space).values())
    return {ids.get(code, id_beside(code)): entry for code, entry in coded}


def read_untrained(path: Path) -> dict[str, float]:
    """The scores of untrained networks that `rank --untrained` has written, by code."""
    return {record["code"]: record["naswot"] for record in records(path) if "code" in record}
