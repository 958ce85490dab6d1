"""What is computed on Ray: the units of an evaluation, and stand-alone trainings, one at a time on each worker.

The workers train in the directories that a command without Ray would train in, so a training that was interrupted,
here or there, goes on. For that the working directory has to be a shared one, at the same path on all machines.
"""

import hashlib
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fewshot_nas.cli.errors import BusyError, InputError, TaskError
from fewshot_nas.cluster.pool import WorkerPool, results
from fewshot_nas.cluster.schedule import SLOWEST, TaskSchedule
from fewshot_nas.config import Config
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.executors import Executor, Results, Work
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.scorer import memory_limit_mb, within_memory
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import locked, write_text
from fewshot_nas.records.journal import differing
from fewshot_nas.results.run import run_directory
from fewshot_nas.running.manifest import clear
from fewshot_nas.running.networks import GroundTruth, StandAlone, StandAloneResult
from fewshot_nas.running.run import Run
from fewshot_nas.space.space import Arch

CPU = torch.device("cpu")
_BUSY_S = 30.0  # a worker that was killed may hold its lock for a while


class OnRay(Executor):
    """Computes on a pool of workers.

    Args:
        make_workers: starts the pool; called when it is first needed.
        memory_mb: that a worker may take; None: on a GPU, what it has to spare.
        gpu_batch: images that a worker with a GPU scores at a time; None: as many as a worker without.
    """

    def __init__(
        self,
        make_workers: Callable[[], AbstractContextManager[WorkerPool]],
        memory_mb: int | None = None,
        gpu_batch: int | None = None,
    ) -> None:
        self._make_workers, self._stack = make_workers, ExitStack()
        self._memory_mb, self._gpu_batch = memory_mb, gpu_batch

    @cached_property
    def _workers(self) -> WorkerPool:
        return self._stack.enter_context(self._make_workers())

    def __enter__(self) -> "OnRay":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def workers(self) -> int:
        return len(self._workers.accepted)

    def numerics(self, device: torch.device, known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Waits for the first worker. If the known ones are equal, all workers must have them."""
        agree = len(known) > 0 and all(each == known[0] for each in known)
        found = self._workers.first(known[0] if agree else {}).numerics
        return [found | ({"batch": self._gpu_batch} if self._gpu_batch and found["device"] != CPU.type else {})]

    def results(self, numbers: Sequence[int], work: Work) -> Results:
        costs = {number: float(work.macs(number) * work.inputs.count) for number in numbers}
        yield from results(
            self._workers, packed(work, self._memory_mb, self._gpu_batch), TaskSchedule(costs, slowest=1 / SLOWEST)
        )


@dataclass(frozen=True, eq=False)
class PackedWork:
    """Work as it is sent: its images are arrays, which the workers of a machine share in Ray's memory.

    Attributes:
        work: without images.
        arrays: images and labels, by their names in `Inputs`.
        digests: of the driver's weights and images, see `digests`.
        memory_mb, gpu_batch: see `OnRay`.
    """

    work: Work
    arrays: Mapping[str, "np.ndarray[Any, Any]"]
    digests: Mapping[str, str]
    memory_mb: int | None = None
    gpu_batch: int | None = None

    def unpacked(self, world: World) -> Work:
        """The work, planned for this worker: only here is it known how much memory there is."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the arrays are not writable, and nobody writes to them
            images: Any = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        inputs = replace(self.work.inputs, **images)
        found = digests(self.work.supernet, inputs)
        if differing := [name for name in found if found[name] != self.digests[name]]:
            raise InputError(f"has not the driver's {' and '.join(differing)}; the SHA-256 digests differ")
        on_gpu, memory_mb = world.device.type != CPU.type, self.memory_mb
        if on_gpu:
            inputs = replace(inputs, device=world.device, batch=self.gpu_batch or inputs.batch)
            memory_mb = memory_mb or memory_limit_mb(world.device)
        inputs, _ = within_memory(self.work.units, self.work.supernet, inputs, memory_mb)
        return replace(self.work, supernet=self.work.supernet.to(world.device), inputs=inputs)


def packed(work: Work, memory_mb: int | None = None, gpu_batch: int | None = None) -> PackedWork:
    """Pack work, so that it can be sent to workers."""
    tensors = _tensors(work.inputs)
    nothing: Any = {name: torch.empty(0) for name in tensors}
    empty = replace(work.inputs, **nothing)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return PackedWork(replace(work, inputs=empty), arrays, digests(work.supernet, work.inputs), memory_mb, gpu_batch)


def digests(supernet: Supernet, inputs: Inputs) -> dict[str, str]:
    """SHA-256 of the weights, as `checkpoint`, and of images and labels, by their names in `Inputs`."""
    weights = {"checkpoint": _sha256(*supernet.state_dict().values())}
    return weights | {name: _sha256(tensor) for name, tensor in _tensors(inputs).items()}


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: value for name, value in vars(inputs).items() if isinstance(value, Tensor)}


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def train(trainings: Sequence[StandAlone], make_workers: Callable[[], AbstractContextManager[WorkerPool]]) -> None:
    """Train the archs that a ground truth does not have, and add them.

    Args:
        trainings: of one run and one truth, which this process reads and writes but does not carry out.
        make_workers: starts the pool; called if there is anything to train.

    Raises:
        InputError: the machines have no directory in common, or a training failed three times.
    """
    wanted = []
    for each in trainings:
        if said := each.known():
            each.run.report(said)
        else:
            wanted.append(each)
    if not wanted:
        return
    run, truth = wanted[0].run, wanted[0].truth
    assert truth is not None
    if not run.resume:  # here, because a worker that takes a task over from a lost one has to go on with it
        for each in wanted:
            with locked(each.directory.lock, wait=False):
                clear(each.directory)
    with (
        _token(run.save) as token,
        make_workers() as workers,
        tqdm(total=len(wanted), unit="training", disable=None) as bar,
    ):
        work = Trainings.of(wanted, token)
        try:
            for number, (result, said) in results(workers, work, _schedule(wanted)):
                # Added as it comes, so that nothing is lost if this process ends; None: another run holds the lock.
                if result:
                    truth.add(result)
                workers.report(said or f"{wanted[number].name} is left out: another process is at work on it")
                bar.set_postfix_str(f"workers: {len(workers.accepted)}", refresh=False)
                bar.update()
        except TaskError as error:
            raise InputError(f"{wanted[error.number].name} {error}; all others are kept") from None


def _schedule(trainings: Sequence[StandAlone]) -> TaskSchedule:
    """Costs are multiply-adds of all epochs; backward takes twice those of forward."""
    run = trainings[0].run
    images, classes = 3 * run.config.stand_alone.epochs * len(run.data.train), run.data.num_classes
    costs = [float(run.space.cost(each.arch, num_classes=classes).macs * images) for each in trainings]
    begun = [number for number, each in enumerate(trainings) if each.directory.last.exists()]
    return TaskSchedule(dict(enumerate(costs)), slowest=1 / SLOWEST, resumed=begun, copies=False)


@contextmanager
def _token(save: str) -> Iterator[Path]:
    """A file by which workers know the driver's directory."""
    path = run_directory(save) / "stand_alone" / f".driver-{uuid.uuid4().hex}"
    write_text(path, path.name)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


@dataclass(frozen=True)
class Trainings:
    """Trainings as they are sent to the workers.

    Attributes:
        truth: the ground truth's file; only the driver writes it.
        manifest: the driver's manifest of the first arch's training.
        directory: the driver's working directory, and `token` a file in it.
    """

    save: str
    config: Config
    archs: tuple[tuple[str, Arch], ...]
    truth: Path
    manifest: dict[str, Any]
    directory: Path
    token: Path

    @classmethod
    def of(cls, trainings: Sequence[StandAlone], token: Path) -> "Trainings":
        """Trainings of one run, numbered in their order."""
        first, archs = trainings[0], tuple((each.name, each.arch) for each in trainings)
        assert first.truth is not None
        return cls(first.run.save, first.run.config, archs, first.truth.path, first.manifest, Path.cwd(), token)

    def unpacked(self, world: World) -> Callable[[int], tuple[StandAloneResult | None, str]]:
        """The work's result is that of a training, with a line for a person."""
        try:
            os.chdir(self.directory)
            seen = self.token.read_text() == self.token.name
        except OSError:
            seen = False
        if not seen:
            raise InputError(
                f"does not see {self.directory / self.token}, which the driver has just written; to train on Ray, start"
                " in a directory that all machines share under the same path, or train without --executor ray"
            )
        said: list[str] = []
        run = Run(save=self.save, config=self.config, world=world, resume=True, report=said.append)
        if keys := differing(self.manifest, StandAlone.of(run, *self.archs[0], None).manifest):
            raise InputError(f"differs from the driver in {', '.join(keys[:4])}; all machines need the same images")
        return lambda number: self._trained(run, number, said)

    def _trained(self, run: Run, number: int, said: list[str]) -> tuple[StandAloneResult | None, str]:
        found: list[StandAloneResult] = []
        give_up_s = time.monotonic() + _BUSY_S
        while True:
            try:
                StandAlone.of(run, *self.archs[number], GroundTruth(self.truth), found.append).carry_out()
                return found[0] if found else None, said[-1]
            except BusyError:
                if time.monotonic() > give_up_s:
                    return None, ""
                time.sleep(1)
