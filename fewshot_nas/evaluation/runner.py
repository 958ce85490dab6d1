"""Evaluates parts of a pool so that no work is lost: a journal of units, then whole score files.

    work unit (up to 128 networks)   one line of journal_<parts>_<rank>.jsonl, at once
    part of the pool                 top1_json<part>.json, top5_..., prob_..., manifest<part>.json,
                                     when all of its archs are scored

After an interruption, give the same command again: it continues with the missing units. On the same
machine the score files come out the same, byte for byte. Parts that are given together (`1-8`) are
one tree and share more than they would alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewshot_nas.distributed import World, wait_for_all
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import Correct, accuracy
from fewshot_nas.evaluation.prefix_tree import Plan, peak_elements
from fewshot_nas.files import locked, write_json
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.results import journals, manifest_path, part_lock, shard_path
from fewshot_nas.scores.manifests import read_manifest
from fewshot_nas.scores.shards import METRICS, Score, write_shards
from fewshot_nas.space.arch import Arch, encode

Parts = Mapping[int, Mapping[str, Arch]]
_MB = 1 << 20
_PROCESS_MB = 850  # resident before the first image: Python, torch, compiled kernels


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
        paths = [shard_path(self.directory, metric, part) for part in self.parts for metric in METRICS]
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
                _refuse_others(self.part_manifest(part), path, read_manifest(path))

    def computed(self, ways: Sequence[Any]) -> "Job":
        """The job with the numerics of those who computed it: one, or a list where they differ."""
        numerics = {"numerics": ways[0] if len(ways) == 1 else list(ways)} if ways else {}
        return replace(self, manifest={**self.manifest, **numerics})

    def part_manifest(self, part: int) -> dict[str, Any]:
        """The manifest with what concerns this part alone."""
        return {**self.manifest, "part": part, "archs": len(self.parts[part])}


class Journal:
    """Finished units of a job, one line each, written by one process per file.

    A head says what the units below it depend on: the job's manifest, and the plan itself,
    because a unit is known by its number only. Each process that goes on with a file writes a
    head of its own, so that the numerics of all of them are known in the end.
    """

    def __init__(self, job: Job, plan: Plan) -> None:
        self._job = job
        members = repr([unit.members for unit in plan.units]).encode()
        self._head = {**job.manifest, "plan_sha256": hashlib.sha256(members).hexdigest()}

    def read(self) -> dict[int, list[Correct]]:
        """The units that are done, by all processes.

        Raises:
            InputError: a journal of another evaluation lies there.
        """
        done: dict[int, list[Correct]] = {}
        for path, record in self._records():
            if "unit" in record:
                done[record["unit"]] = [(top1, top5, prob) for top1, top5, prob in record["correct"]]
            else:
                _refuse_others(self._head, path, record)
        return done

    def numerics(self) -> list[Any]:
        """How the processes that wrote the units computed, each way once."""
        ways = [record.get("numerics") for _, record in self._records() if "unit" not in record]
        return [way for place, way in enumerate(ways) if way is not None and way not in ways[:place]]

    @contextmanager
    def writing(self, rank: int) -> Iterator[Callable[[int, list[Correct]], None]]:
        """A function that notes a unit, at once and for good."""
        path = self._job.directory / f"journal_{self._job.name}_{rank}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        with path.open("a", encoding="utf-8") as stream:

            def write(record: Mapping[str, Any]) -> None:
                stream.write(json.dumps(record) + "\n")
                stream.flush()

            write(self._head)
            yield lambda unit, correct: write({"unit": unit, "correct": correct})

    def remove(self) -> None:
        """When the score files are there."""
        for path in self._paths():
            path.unlink()

    def _records(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for path in self._paths():
            yield from ((path, record) for record in _complete_lines(path))

    def _paths(self) -> list[Path]:
        return journals(self._job.directory, self._job.name)


def run_job(job: Job, plan: Plan, supernet: Supernet, inputs: Inputs, world: World) -> None:
    """Score all parts of a job and write their files; continues where it was stopped.

    Raises:
        InputError: another process works on one of the parts, or what lies in the directory
            belongs to another evaluation.
    """
    with ExitStack() as locks:
        for part in job.parts if world.is_main else ():
            locks.enter_context(locked(part_lock(job.directory, part), wait=False))
        job.refuse_others()
        journal = Journal(job, plan)
        done = journal.read()
        wait_for_all(world)  # nobody writes before everybody has read
        missing = [number for number in range(len(plan.units)) if number not in done]
        with _bar(plan, done, world) as bar, journal.writing(world.rank) as note:
            for number in missing[world.rank :: world.size]:
                unit = plan.units[number]
                note(number, Walk(supernet, unit, inputs).correct())
                bar.update(min(sum(map(len, unit.members)) * world.size, plan.archs - bar.n))
        wait_for_all(world)
        if world.is_main:
            _write_scores(job.computed(journal.numerics()), plan, journal.read(), len(inputs.images))
            journal.remove()
        wait_for_all(world)


def within_memory(plan: Plan, supernet: Supernet, inputs: Inputs, memory_mb: int) -> tuple[Inputs, float]:
    """The inputs with as large a scoring batch as the memory allows, and the memory they will take in MB.

    The batch is no larger than wanted.

    Args:
        memory_mb: for this process in all; on a GPU, for activations.

    Raises:
        InputError: not even a calibration batch fits; it cannot be divided, because batch norms
            see it as a whole.
    """
    elements = max(peak_elements(supernet.space, unit, inputs.images.shape[-1]) for unit in plan.units)
    image_mb = elements * (2 if inputs.precision == "bf16" else 4) / _MB
    # Estimated rather than measured: a resumed run must come to the same batches.
    taken_mb = 4 * (_weights(supernet) + 3 * _largest_weight(supernet)) / _MB
    if inputs.device.type == "cpu":
        taken_mb += _PROCESS_MB + (inputs.images.nbytes + inputs.calibration.nbytes) / _MB
    fits = int((memory_mb - taken_mb) / image_mb)
    needed = min(inputs.calibration_batch, len(inputs.calibration))
    if fits < needed:
        raise InputError(
            f"evaluation.memory_mb is {memory_mb}, but {taken_mb + needed * image_mb:.0f} are needed for a calibration"
            f" batch of {needed} images; raise it, or lower evaluation.calibration_batch"
        )
    batch = min(inputs.batch, fits)
    return replace(inputs, batch=batch), taken_mb + max(batch, needed) * image_mb


def _write_scores(job: Job, plan: Plan, done: Mapping[int, Sequence[Correct]], images: int) -> None:
    correct = plan.by_arch(done[number] for number in range(len(plan.units)))
    results = iter(accuracy(each, images) for each in correct)
    for part, archs in job.parts.items():
        scores = [
            Score(arch_id, encode(arch), each.top1, each.top5, each.prob)
            for (arch_id, arch), each in zip(archs.items(), results, strict=False)
        ]
        write_json(manifest_path(job.directory, part), job.part_manifest(part))
        write_shards(job.directory, part, scores)


def _refuse_others(expected: Mapping[str, Any], path: Path, found: Mapping[str, Any]) -> None:
    expected = json.loads(json.dumps(expected))  # as it would have been read
    for key in (
        key for key in expected if key != "numerics"
    ):  # another machine may go on, and the manifest will name both
        if found.get(key) != expected[key]:
            raise InputError(
                f"{path}: was written with {key}={found.get(key)}, now it is {expected[key]};"
                " remove the directory's files to evaluate anew, or choose another --epoch"
            )


def _complete_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):  # after it a line was cut short
        try:
            yield json.loads(line)
        except ValueError:
            raise InputError(f"{path}: line {number} is not valid JSON; delete the file to evaluate anew") from None


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        kept = path.read_bytes().rfind(b"\n") + 1
        with path.open("r+b") as stream:
            stream.truncate(kept)


def _bar(plan: Plan, done: Iterable[int], world: World) -> "tqdm[Any]":
    scored = sum(len(members) for number in done for members in plan.units[number].members)
    hidden = None if world.is_main else True  # None: hidden where there is no terminal
    return tqdm(total=plan.archs, initial=scored, unit="subnet", smoothing=0.1, disable=hidden)


def _weights(supernet: Supernet) -> int:
    return sum(parameter.numel() for parameter in supernet.parameters())


def _largest_weight(supernet: Supernet) -> int:
    # A convolution holds its folded weights, and the kernel's own order of them.
    return max(parameter.numel() for parameter in supernet.parameters())
