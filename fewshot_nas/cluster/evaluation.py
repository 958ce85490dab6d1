"""The executor of evaluations on Ray."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cluster.dispatch import results
from fewshot_nas.cluster.schedule import SLOWEST, TaskSchedule
from fewshot_nas.cluster.worker_pool import WorkerPool
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.executors import Executor, Results, Work
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.memory import memory_limit_mb, within_memory
from fewshot_nas.models.supernet import Supernet

CPU = torch.device("cpu")


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
