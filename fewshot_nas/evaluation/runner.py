"""The runner evaluates parts of a pool without losing work: it writes a journal of units, then whole score files.

After an interruption, the same command computes the missing units, and on the same machine the score
files become the same, byte for byte. Parts that are evaluated together (`1-8`) form one tree and share
more than they would alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewshot_nas.cli.errors import InputError, TaskError
from fewshot_nas.cli.main import Pace, as_list
from fewshot_nas.distributed import World, on_rank0
from fewshot_nas.evaluation.executors import UnitSums
from fewshot_nas.evaluation.inputs import Sums
from fewshot_nas.evaluation.prefix_tree import Plan
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.records.files import locked, write_json
from fewshot_nas.records.journal import Journal, differing, refuse_difference
from fewshot_nas.results.directories import journal_path, manifest_path, part_lock, shard_path
from fewshot_nas.results.scores import METRICS, Score, read_manifest, write_shards
from fewshot_nas.space.space import Arch, Space

Parts = Mapping[int, Mapping[str, Arch]]
_REMEDY = "remove the directory's files to evaluate anew, or choose another --epoch"


@dataclass(frozen=True)
class Job:
    """Parts of a pool that are scored with one supernet, into one directory.

    Attributes:
        manifest: everything that the scores depend on; scores of different manifests are never mixed.
    """

    directory: Path
    parts: Parts
    manifest: Mapping[str, Any]

    @property
    def archs(self) -> list[Arch]:
        return [arch for part in self.parts.values() for arch in part.values()]

    @property
    def name(self) -> str:
        """The parts as a word: `3`, `1-8`, `1,3`."""
        return as_list(list(self.parts))

    def finished(self) -> bool:
        """Whether all score files are there.

        Raises:
            InputError: they exist, but were made with another manifest.
        """
        paths = [shard_path(self.directory, metric, part) for part in self.parts for metric in METRICS]
        if not all(path.exists() for path in paths):
            return False
        self.refuse_others()
        return True

    def refuse_others(self) -> None:
        """Refuse to overwrite scores that were made with another manifest.

        Raises:
            InputError: a part of this job has such scores.
        """
        for part in self.parts:
            path = manifest_path(self.directory, part)
            if path.exists():
                found, now = read_manifest(path), self.part_manifest(part)
                keys = [key for key in differing(found, now) if not key.startswith("numerics")]  # several are named
                refuse_difference(f"{path}: was written with", found, now, _REMEDY, keys)

    def computed(self, numerics: Sequence[Any]) -> "Job":
        """The job with the numerics of the processes that computed it; a list if they differ."""
        distinct = [each for place, each in enumerate(numerics) if each not in numerics[:place]]
        fact = {"numerics": distinct[0] if len(distinct) == 1 else distinct} if distinct else {}
        return replace(self, manifest={**self.manifest, **fact})

    def journal(self, plan: Plan) -> Journal:
        """The journal of its units; it depends on the plan too, because a unit is known by its number only."""
        members = repr([unit.members for unit in plan.units]).encode()
        manifest = {**self.manifest, "plan_sha256": hashlib.sha256(members).hexdigest()}
        path = journal_path(self.directory, self.name)
        return Journal(path, f"{path}: was written with", manifest, _REMEDY)

    def part_manifest(self, part: int) -> dict[str, Any]:
        return {**self.manifest, "part": part, "archs": len(self.parts[part])}


def run_job(job: Job, plan: Plan, scorer: Scorer, world: World) -> None:
    """Score all parts of a job and write their files; an interrupted job is continued.

    All processes call this. Only rank 0 reads the directory, decides which units are
    missing, and writes.

    Args:
        plan: the plan of the job's archs.

    Raises:
        InputError: another process works on one of the parts, or the directory contains files of
            another evaluation.
    """
    journal = job.journal(plan)
    with ExitStack() as locks:
        # Rank 0 takes the locks in `begin`, and keeps them until the score files are written.
        def begin() -> dict[int, UnitSums]:
            for part in job.parts:
                locks.enter_context(locked(part_lock(job.directory, part), wait=False))
            job.refuse_others()
            return {record["unit"]: [Sums(*each) for each in record["correct"]] for record in journal.read()}

        done = on_rank0(world, begin)
        if len(done) < len(plan.units):
            # An evaluation that goes on on Ray takes only workers that compute as those before.
            known = on_rank0(world, journal.numerics)
            batch = scorer.within_memory(plan)[0].batch
            numerics = scorer.executor.numerics(scorer.inputs.device, known)
            # Sums over batches of another size are rounded differently, so the size is one of the numerics.
            _compute(job, plan, [{"batch": batch, **each} for each in numerics], scorer, world, done)

        def finish() -> None:
            _write_scores(
                job.computed(journal.numerics()), plan, done, len(scorer.inputs.images), scorer.supernet.space
            )
            journal.path.unlink(missing_ok=True)

        on_rank0(world, finish)


def _compute(
    job: Job, plan: Plan, numerics: Sequence[Any], scorer: Scorer, world: World, done: dict[int, UnitSums]
) -> None:
    """Compute the units that are not done, and note each in the journal."""
    missing = [number for number in range(len(plan.units)) if number not in done]
    note = job.journal(plan).writing(numerics) if world.is_rank0 else lambda record: None
    pace = Pace(sum(plan.units[number].macs for number in missing), tqdm.write if world.is_rank0 else lambda line: None)
    scored = sum(len(members) for number in done for members in plan.units[number].members)
    hidden = None if world.is_rank0 else True  # None: hidden where there is no terminal
    with (
        tqdm(total=plan.archs, initial=scored, unit="subnet", smoothing=0.1, disable=hidden) as bar,
        closing(scorer.results(plan, missing)) as results,
    ):
        try:
            for number, sums in results:
                # First onto the disk: an interruption loses at most the units that are being computed.
                note({"unit": number, "correct": sums})
                done[number] = sums
                pace.advance(plan.units[number].macs)
                bar.set_postfix_str(f"{len(done)}/{len(plan.units)} units, workers: {scorer.executor.workers}", False)
                bar.update(sum(map(len, plan.units[number].members)))
        except TaskError as error:
            raise InputError(f"{_named(error.number, job, plan)} {error}; all finished units are kept") from None


def _named(number: int, job: Job, plan: Plan) -> str:
    """A work unit and its archs, for messages."""
    ids = [arch_id for part in job.parts.values() for arch_id in part]
    members = [ids[index] for network in plan.units[number].members for index in network]
    return f"work unit {number} ({', '.join(members)})"


def _write_scores(job: Job, plan: Plan, done: Mapping[int, UnitSums], images: int, space: Space) -> None:
    by_arch = plan.by_arch(done[number] for number in range(len(plan.units)))
    results = iter(sums.accuracy(images) for sums in by_arch)
    for part, archs in job.parts.items():
        scores = [
            Score(arch_id, space.encode(arch), each.top1, each.top5, each.prob, each.likelihood)
            for (arch_id, arch), each in zip(archs.items(), results, strict=False)
        ]
        write_json(manifest_path(job.directory, part), job.part_manifest(part))
        write_shards(job.directory, part, scores)
