"""Evaluates parts of a pool so that no work is lost: a journal of units, then whole score files.

    work unit (up to 128 networks)   one line of journal_<parts>_0.jsonl, at once
    part of the pool                 top1_json<part>.json, top5_..., prob_..., manifest<part>.json,
                                     when all of its archs are scored

After an interruption, give the same command again: it computes the missing units, and the score
files become the same, byte for byte, on the same machine. Parts that are given together
(`1-8`) are one tree and share more than they would alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewshot_nas.distributed import World, decided
from fewshot_nas.evaluation.journal import Journal, refuse_others
from fewshot_nas.evaluation.prefix_tree import Plan
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.evaluation.work import UnitSums
from fewshot_nas.files import locked, write_json
from fewshot_nas.results import manifest_path, part_lock, shard_path
from fewshot_nas.scores.manifests import read_manifest
from fewshot_nas.scores.shards import FIRST_METRICS, Score, write_shards
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace

Parts = Mapping[int, Mapping[str, Arch]]


@dataclass(frozen=True)
class Job:
    """Parts of a pool to be scored with one supernet, into one directory.

    Attributes:
        manifest: what the scores depend on; scores under another one are never mixed in.
    """

    directory: Path
    parts: Parts
    manifest: Mapping[str, Any]

    @property
    def archs(self) -> list[Arch]:
        """Of all parts, in order: what the plan is made of."""
        return [arch for part in self.parts.values() for arch in part.values()]

    @property
    def name(self) -> str:
        """The parts as a word: `3`, `1-8`, `1,3`."""
        numbers = list(self.parts)
        run = numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 1
        return f"{numbers[0]}-{numbers[-1]}" if run else ",".join(map(str, numbers))

    def finished(self) -> bool:
        """Whether all score files are there.

        Raises:
            InputError: they are, but under another manifest.
        """
        paths = [shard_path(self.directory, metric, part) for part in self.parts for metric in FIRST_METRICS]
        if not all(path.exists() for path in paths):
            return False
        self.refuse_others()
        return True

    def refuse_others(self) -> None:
        """Leave scores alone that were made under another manifest.

        Raises:
            InputError: a part of this job has such scores.
        """
        for part in self.parts:
            path = manifest_path(self.directory, part)
            if path.exists():
                refuse_others(self.part_manifest(part), path, read_manifest(path))

    def computed(self, ways: Sequence[Any]) -> "Job":
        """The job with the numerics of those who computed it: one, or a list where they differ."""
        distinct = [way for place, way in enumerate(ways) if way not in ways[:place]]
        numerics = {"numerics": distinct[0] if len(distinct) == 1 else distinct} if distinct else {}
        return replace(self, manifest={**self.manifest, **numerics})

    def part_manifest(self, part: int) -> dict[str, Any]:
        """The manifest with what concerns this part alone."""
        return {**self.manifest, "part": part, "archs": len(self.parts[part])}


def run_job(job: Job, plan: Plan, scorer: Scorer, world: World) -> None:
    """Score all parts of a job and write their files; continues where it was stopped.

    All processes call this. The main one alone looks into the directory, decides what is missing,
    and writes.

    Args:
        plan: of the job's archs.

    Raises:
        InputError: another process works on one of the parts, or what lies in the directory
            belongs to another evaluation.
    """
    journal = Journal(job.directory, job.name, job.manifest, plan)
    with ExitStack() as locks:

        def begin() -> dict[int, UnitSums]:
            for part in job.parts:
                locks.enter_context(locked(part_lock(job.directory, part), wait=False))
            job.refuse_others()
            return journal.read()

        done = decided(world, begin)
        note = locks.enter_context(journal.writing()) if world.is_main else _nothing
        missing = [number for number in range(len(plan.units)) if number not in done]
        with _bar(plan, done, world) as bar, closing(scorer.results(plan, missing)) as results:
            for number, sums in results:
                note(number, sums)
                done[number] = sums
                bar.update(sum(map(len, plan.units[number].members)))

        def finish() -> None:
            _write_scores(
                job.computed(journal.numerics()), plan, done, len(scorer.inputs.images), scorer.supernet.space
            )
            journal.remove()

        decided(world, finish)


def _nothing(unit: int, sums: UnitSums) -> None:
    """The other processes keep no journal."""


def _write_scores(job: Job, plan: Plan, done: Mapping[int, UnitSums], images: int, space: SearchSpace) -> None:
    by_arch = plan.by_arch(done[number] for number in range(len(plan.units)))
    results = iter(sums.accuracy(images) for sums in by_arch)
    for part, archs in job.parts.items():
        scores = [
            Score(arch_id, space.encode(arch), each.top1, each.top5, each.prob, each.likelihood)
            for (arch_id, arch), each in zip(archs.items(), results, strict=False)
        ]
        write_json(manifest_path(job.directory, part), job.part_manifest(part))
        write_shards(job.directory, part, scores)


def _bar(plan: Plan, done: Iterable[int], world: World) -> "tqdm[Any]":
    scored = sum(len(members) for number in done for members in plan.units[number].members)
    hidden = None if world.is_main else True  # None: hidden where there is no terminal
    return tqdm(total=plan.archs, initial=scored, unit="subnet", smoothing=0.1, disable=hidden)
