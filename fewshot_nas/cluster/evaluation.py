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
from fewshot_nas.evaluation.executors import Executor, Results
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.work import Work
from fewshot_nas.models.supernet import Supernet


class OnRay(Executor):
    """Computes on a pool of workers.

    Args:
        make_workers: starts the pool; called when it is first needed.
    """

    def __init__(self, make_workers: Callable[[], AbstractContextManager[WorkerPool]]) -> None:
        self._make_workers, self._stack = make_workers, ExitStack()

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
        return [self._workers.first(known[0] if agree else {}).numerics]

    def results(self, numbers: Sequence[int], work: Work) -> Results:
        costs = {number: float(work.macs(number) * work.inputs.count) for number in numbers}
        yield from results(self._workers, packed(work), TaskSchedule(costs, slowest=1 / SLOWEST))


@dataclass(frozen=True, eq=False)
class PackedWork:
    """Work as it is sent: its images are arrays, which the workers of a machine share in Ray's memory.

    Attributes:
        work: without images.
        arrays: images and labels, by their names in `Inputs`.
        digests: of the driver's weights and images, see `digests`.
    """

    work: Work
    arrays: Mapping[str, "np.ndarray[Any, Any]"]
    digests: Mapping[str, str]

    def unpacked(self, world: World) -> Work:
        inputs = _with(self.work.inputs, {name: _tensor(array) for name, array in self.arrays.items()})
        found = digests(self.work.supernet, inputs)
        if differing := [name for name in found if found[name] != self.digests[name]]:
            raise InputError(f"has not the driver's {' and '.join(differing)}; the SHA-256 digests differ")
        return replace(
            self.work, supernet=self.work.supernet.to(world.device), inputs=replace(inputs, device=world.device)
        )


def packed(work: Work) -> PackedWork:
    """Pack work, so that it can be sent to workers."""
    tensors = _tensors(work.inputs)
    empty = _with(work.inputs, {name: torch.empty(0) for name in tensors})
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return PackedWork(replace(work, inputs=empty), arrays, digests(work.supernet, work.inputs))


def digests(supernet: Supernet, inputs: Inputs) -> dict[str, str]:
    """SHA-256 of the weights, as `checkpoint`, and of images and labels, by their names in `Inputs`."""
    weights = {"checkpoint": _sha256(*supernet.state_dict().values())}
    return weights | {name: _sha256(tensor) for name, tensor in _tensors(inputs).items()}


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: value for name, value in vars(inputs).items() if isinstance(value, Tensor)}


def _with(inputs: Inputs, tensors: Mapping[str, Any]) -> Inputs:
    return replace(inputs, **tensors)


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _tensor(array: "np.ndarray[Any, Any]") -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the array is not writable, and nobody writes to it
        return torch.from_numpy(array)
