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

from fewshot_nas.cluster.crew import Crew
from fewshot_nas.cluster.schedule import SLOWEST, Schedule
from fewshot_nas.cluster.shift import results
from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.executors import Executor, Results
from fewshot_nas.evaluation.work import Work


class OnRay(Executor):
    """Computes on the workers of a crew.

    Args:
        crew: makes one, when it is first needed.
    """

    def __init__(self, crew: Callable[[], AbstractContextManager[Crew]]) -> None:
        self._make_crew, self._stack = crew, ExitStack()

    @cached_property
    def _crew(self) -> Crew:
        return self._stack.enter_context(self._make_crew())

    def __enter__(self) -> "OnRay":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def workers(self) -> int:
        """As `Executor.workers`."""
        return len(self._crew.members)

    def numerics(self, device: torch.device, known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """As `Executor.numerics`; waits for the first worker. All workers compute like those before, if these agree."""
        agree = len(known) > 0 and all(each == known[0] for each in known)
        return [self._crew.first(known[0] if agree else {}).numerics]

    def results(self, numbers: Sequence[int], work: Work) -> Results:
        """As `Executor.results`."""
        images = len(work.inputs.calibration) + len(work.inputs.images)
        costs = {number: float(work.macs(number) * images) for number in numbers}
        yield from results(self._crew, packed(work), Schedule(costs, slowest=1 / SLOWEST))


@dataclass(frozen=True, eq=False)
class PackedWork:
    """Work as it travels: the images are arrays, which the workers of a machine share in Ray's memory.

    Attributes:
        work: without images.
        digests: of what the driver holds, by the names that people know.
    """

    work: Work
    calibration: "np.ndarray[Any, Any]"
    images: "np.ndarray[Any, Any]"
    digests: Mapping[str, str]

    def unpacked(self, world: World) -> Work:
        """As `worker.Parcel.unpacked`."""
        calibration, images = _tensor(self.calibration), _tensor(self.images)
        work = replace(self.work, inputs=replace(self.work.inputs, calibration=calibration, images=images))
        found = digests(work)
        if differing := [name for name in found if found[name] != self.digests[name]]:
            raise InputError(f"has not the driver's {' and '.join(differing)}; the SHA-256 digests differ")
        inputs = replace(work.inputs, device=world.device)
        return replace(work, supernet=work.supernet.to(world.device), inputs=inputs)


def packed(work: Work) -> PackedWork:
    """Ready to be sent to workers."""
    inputs = work.inputs
    empty = replace(inputs, calibration=inputs.calibration[:0].clone(), images=inputs.images[:0].clone())
    arrays = inputs.calibration.numpy(), inputs.images.numpy()
    return PackedWork(replace(work, inputs=empty), *arrays, digests(work))


def digests(work: Work) -> dict[str, str]:
    """SHA-256 of the weights and of the images."""
    inputs = work.inputs
    parts = {
        "checkpoint": list(work.supernet.state_dict().values()),
        "calibration images": [inputs.calibration],
        "images": [inputs.images, inputs.labels],
    }
    return {name: _sha256(tensors) for name, tensors in parts.items()}


def _sha256(tensors: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _tensor(array: "np.ndarray[Any, Any]") -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the array is not writable, and nobody writes to it
        return torch.from_numpy(array)
