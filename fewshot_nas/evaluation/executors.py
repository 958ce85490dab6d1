"""Executors compute the work units of an evaluation, on one process or on several.

An executor takes the numbers of work units and returns their results as they finish, in any order.
It knows nothing about archs, parts or files; its caller sorts the results and stores them. What is computed is a
`Work`, which a worker gets once.
"""

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from fewshot_nas.cli.errors import InputError, lacks_memory
from fewshot_nas.computing import numerics
from fewshot_nas.distributed import World, broadcast_object, gathered
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs, Sums, mean_of_sides
from fewshot_nas.evaluation.prefix_tree import WorkUnit
from fewshot_nas.models.sides import sides
from fewshot_nas.models.supernet import Supernet

UnitSums = list[Sums]  # one for each network of a unit
Results = Generator[tuple[int, UnitSums], None, None]

_POLL_S = 0.02


@dataclass(eq=False)
class Work:
    """Computes the units of a plan by their numbers.

    A worker gets this object once, with supernet and images; after that, numbers go in and sums come
    out. The result of a unit depends neither on the worker nor on the units that it computed before, beyond the
    rounding of another batch size: where memory runs out, this process scores half as many images at a time from then
    on, and holds nothing.
    """

    supernet: Supernet
    inputs: Inputs
    units: tuple[WorkUnit, ...]

    def macs(self, number: int) -> int:
        """Multiply-adds of a unit for one image; the time is roughly proportional to them."""
        return self.units[number].macs

    def __call__(self, number: int) -> UnitSums:
        """Score the networks of a unit.

        Raises:
            InputError: not even a calibration batch, which cannot be divided, fits into memory.
        """
        while True:
            try:
                return mean_of_sides(Walk(side, self.units[number], self._inputs).sums() for side in self._sides)
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
            # Outside the handler, whose traceback holds the tensors of the walk.
            self._take_less()

    @cached_property
    def _sides(self) -> Sequence[Supernet]:
        return sides(self.supernet)

    @cached_property
    def _inputs(self) -> Inputs:
        return self.inputs.on_device()

    def _take_less(self) -> None:
        batch, needed = self.inputs.batch, max(self.inputs.calibration_sizes, default=1)
        if batch <= needed:
            raise InputError(
                f"memory ran out with {batch} scoring images and {needed} calibration images at a time; lower"
                " evaluation.calibration_batch (for Cream BATCH_SIZE), or end what else uses the memory"
            )
        self.inputs = replace(self.inputs, batch=max(batch // 2, needed), holds_kernels=False, holds_images=False)
        self.__dict__.pop("_inputs", None)
        if self.inputs.device.type == "cuda":
            torch.cuda.empty_cache()


class Executor(ABC):
    """Computes work units somewhere. What is not said is as in this process alone."""

    @property
    def workers(self) -> int:
        """How many compute now."""
        return 1

    def numerics(self, device: torch.device, known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """How the workers compute: one for each, or one for all that agree.

        Args:
            device: of this process.
            known: how those computed whose results are there already.
        """
        return [numerics(device)]

    @abstractmethod
    def results(self, numbers: Sequence[int], work: Work) -> Results:
        """Compute units, each once; yield their numbers and results as they finish.

        If a unit fails, its error is raised here. To stop early, close the generator.

        Args:
            numbers: numbers of the units to compute.
            work: the computation. It is sent to a worker once; after that, only numbers are sent.
        """


class Local(Executor):
    """Computes in this process, in the order given."""

    def results(self, numbers: Sequence[int], work: Work) -> Results:
        for number in numbers:
            yield number, work(number)


class Torchrun(Executor):
    """Computes on all processes that torchrun started. Each process takes the largest unit that is left.

    All processes have to call `results` with the same work. Rank 0 decides which units
    are computed, and yields the results as they finish; it computes units itself in between. The
    other processes yield all results at the end, so that all processes get the same results.

    Units are handed out and results are collected through the process group's store. This is
    independent of gloo and NCCL, and no process waits for another.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def workers(self) -> int:
        return self._world.size

    def numerics(self, device: torch.device, known: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return gathered(numerics(device), self._world)

    def results(self, numbers: Sequence[int], work: Work) -> Results:
        largest_first = sorted(numbers, key=work.macs, reverse=True)
        name, units = broadcast_object((uuid.uuid4().hex, largest_first), self._world)
        exchange = _Exchange(name, units, self._world)
        yield from self._lead(exchange, work) if self._world.is_rank0 else self._follow(exchange, work)

    def _lead(self, exchange: "_Exchange", work: Work) -> Results:
        found: dict[int, UnitSums] = {}
        try:
            for number, result in exchange.all_results(work):
                yield number, result
                found[number] = result
        finally:
            exchange.stop()
            broadcast_object(found if len(found) == len(exchange.units) else None, self._world)

    def _follow(self, exchange: "_Exchange", work: Work) -> Results:
        error = None
        try:
            for number in exchange.taken():
                exchange.send({"unit": number, "sums": work(number)})
        except Exception as failure:
            error = failure
            exchange.send({"error": f"process {self._world.rank}: {str(failure) or type(failure).__name__}"})
        found: dict[int, UnitSums] | None = broadcast_object(None, self._world)
        if error:
            raise error
        if found is None:
            raise InputError("the evaluation was stopped, because another process failed")
        yield from found.items()


class _Exchange:
    """Where processes take units and rank 0 collects results: keys of a store.

    taken               how many units of the list have been taken
    <rank>/0, 1, ...    what a process has sent, in order
    """

    def __init__(self, name: str, units: Sequence[int], world: World) -> None:
        self.units = units
        self._store = PrefixStore(name, _get_default_store())
        self._world = world
        self._sent = 0

    def taken(self) -> Iterator[int]:
        """The units that this process takes, until none is left."""
        while (place := self._store.add("taken", 1) - 1) < len(self.units):
            yield self.units[place]

    def stop(self) -> None:
        """Leave no unit to be taken."""
        self._store.add("taken", len(self.units))

    def send(self, message: dict[str, Any]) -> None:
        """Send a result or an error to rank 0."""
        self._store.set(f"{self._world.rank}/{self._sent}", json.dumps(message))
        self._sent += 1

    def all_results(self, work: Work) -> Iterator[tuple[int, UnitSums]]:
        """On rank 0: its own results and those of the others, as they finish."""
        missing, received = len(self.units), dict.fromkeys(range(1, self._world.size), 0)
        for number in self.taken():
            yield number, work(number)
            missing -= 1
            for result in self._arrived(received):
                yield result
                missing -= 1
        while missing:
            time.sleep(_POLL_S)
            for result in self._arrived(received):
                yield result
                missing -= 1

    def _arrived(self, received: dict[int, int]) -> Iterator[tuple[int, UnitSums]]:
        """What the others have sent since the last call; `received` counts the messages of each."""
        for rank in received:
            while self._store.check([key := f"{rank}/{received[rank]}"]):
                message = json.loads(self._store.get(key))
                self._store.delete_key(key)
                received[rank] += 1
                if "error" in message:
                    raise InputError(message["error"])
                yield message["unit"], [Sums(*each) for each in message["sums"]]


def executor_for(world: World) -> Executor:
    """The executor that uses all processes there are."""
    return Torchrun(world) if world.size > 1 else Local()
