"""A pool of workers: the driver starts them where there is room, calls their methods, and stops them."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cluster.connection import Needs, connected, nodes
from fewshot_nas.cluster.worker import WorkerActor, WorkerInfo, package
from fewshot_nas.computing import Settings

_POLL_S = 0.2
_LOOK_S = 1.0  # between two looks at the cluster's machines
_WAIT_S = 15.0  # without a worker, before a line tells the user
_FAILED_STARTS = 3  # in a row, before any worker has come


@dataclass(eq=False)
class Worker:
    """A worker as its driver knows it."""

    name: str
    actor: Any
    info: WorkerInfo | None = None

    @property
    def host(self) -> str:
        """The machine's name, for messages."""
        return self.info.host if self.info else "a machine"


@dataclass(frozen=True)
class Reply:
    """What a worker's method returned, or the error that it raised."""

    method: str
    worker: Worker
    value: Any = None
    error: RayError | None = None


class WorkerPool:
    """Workers that come and go, and all compute alike.

    If no numerics are known beforehand, all workers must have those of the first one that answers. A machine
    that computes differently, or has another version of this package than the driver, is named and left out.

    Args:
        needs: what each worker needs of a machine.
        most: the largest number of workers at a time; None means as many as there is room for, also on machines that
            come later.
        report: takes lines for a person.
    """

    def __init__(self, needs: Needs, most: int | None, report: Callable[[str], None]) -> None:
        self.report = report
        self._needs, self._most = needs.resolved(), most
        self._started: dict[str, Worker] = {}
        self._calls: dict[Any, tuple[str, Worker]] = {}
        self._first: WorkerInfo | None = None
        self._expected: dict[str, Any] = {"fewshot-nas": package()}
        self._refused: dict[str, str] = {}
        self._failed_starts = 0
        self._places, self._looked_s = 0, -_LOOK_S
        self._alone_s: float | None = time.monotonic()

    @property
    def accepted(self) -> list[Worker]:
        """The workers that have answered and were accepted."""
        return [worker for worker in self._started.values() if worker.info]

    def first(self, expected: Mapping[str, Any]) -> WorkerInfo:
        """Wait for the first worker, and return its description.

        Args:
            expected: numerics that the workers must have; may be empty.

        Raises:
            InputError: no worker can be started.
        """
        self._expected |= expected
        while self._first is None:
            self.start(1)
            list(self.replies())
        return self._first

    def start(self, useful: int) -> None:
        """Start workers where there is room.

        Args:
            useful: the number of workers that there is work for.

        Raises:
            InputError: there is no machine on which a worker may run.
        """
        room = self._room()
        while len(self._started) < min(self._most or room, useful):
            self._start_one()
        if self.accepted:
            self._alone_s = None
        elif self._alone_s is None:
            self._alone_s = time.monotonic()
        elif time.monotonic() - self._alone_s > _WAIT_S:
            self._alone_s += 20 * _WAIT_S  # said again after minutes
            self.report(f"waiting for a machine with room for a worker ({self._needs})")

    def call(self, method: str, worker: Worker, *arguments: Any) -> None:
        """Call a method of a worker; the reply comes by `replies`."""
        self._calls[getattr(worker.actor, method).remote(*arguments)] = method, worker

    def replies(self) -> Iterator[Reply]:
        """Yield the replies that have come; wait a moment if there are none. A worker's first is `describe`'s."""
        if not self._calls:
            time.sleep(_POLL_S)
            return
        ready, _ = ray.wait(list(self._calls), num_returns=1, timeout=_POLL_S)
        for reference in ready:
            method, worker = self._calls.pop(reference)
            try:
                reply = Reply(method, worker, ray.get(reference))
            except RayError as error:
                reply = Reply(method, worker, error=error)
            if method != "describe" or self._accept(reply):
                yield reply

    def stop(self, worker: Worker) -> None:
        """Stop a worker, even in the middle of a task."""
        self._started.pop(worker.name, None)
        self._calls = {reference: call for reference, call in self._calls.items() if call[1] is not worker}
        ray.kill(worker.actor)

    def is_there(self, worker: Worker) -> bool:
        """Whether a worker's machine still belongs to the cluster."""
        return worker.info is not None and any(node["NodeID"] == worker.info.node for node in nodes())

    def close(self) -> None:
        for worker in list(self._started.values()):
            self.stop(worker)

    def _room(self) -> int:
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            there = nodes()
            self._places = sum(self._needs.fit_into(node) for node in there if node["NodeID"] not in self._refused)
            if not self._places and any(node["NodeID"] in self._refused for node in there):
                raise InputError(f"no other machine is left: {'; '.join(self._refused.values())}")
        return self._places

    def _start_one(self) -> None:
        allowed = {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None
        options = {"num_cpus": self._needs.cores, "num_gpus": self._needs.gpus, "label_selector": allowed}
        actor = ray.remote(WorkerActor).options(**options).remote(self._needs.device, self._needs.settings)
        worker = Worker(uuid.uuid4().hex, actor)
        self._started[worker.name] = worker
        self.call("describe", worker)

    def _accept(self, reply: Reply) -> bool:
        """Accept a new worker if it has started and computes like the others; returns whether it was accepted."""
        worker = reply.worker
        if reply.error:
            self.stop(worker)
            self._failed_starts += 1
            if self._failed_starts == _FAILED_STARTS and self._first is None:
                raise InputError(f"no worker can be started: {reason(reply.error)}")
            return False
        info: WorkerInfo = reply.value
        self._failed_starts = 0
        if differences := info.differences(self._expected):
            self._refuse(worker, info, differences)
            return False
        if self._first is None:
            self._first, self._expected = info, {**self._expected, **info.numerics}
        worker.info = info
        return True

    def _refuse(self, worker: Worker, info: WorkerInfo, differences: list[str]) -> None:
        self.stop(worker)
        if info.node not in self._refused:
            said = f"{info.host} is left out, it has {', '.join(differences)}"
            self._refused[info.node] = said
            self._looked_s = -_LOOK_S
            self.report(said)


@contextmanager
def workers_on(
    address: str | None, most: int | None, device: str | None, settings: Settings, report: Callable[[str], None]
) -> Iterator[WorkerPool]:
    """A pool of workers on the cluster at an address; the arguments are those of `connected`, `WorkerPool` and `Needs`.

    Raises:
        InputError: there is no such cluster.
    """
    needs = Needs(device, settings)
    with connected(address, (most or 0) * needs.cores, report), closing(WorkerPool(needs, most, report)) as workers:
        yield workers


def reason(error: RayError) -> str:
    """A worker's error in a line."""
    if isinstance(error, RayTaskError):
        said = " ".join(str(error.cause).split())
        return f"{type(error.cause).__name__}: {said}"
    if isinstance(error, ActorDiedError):
        _, _, detail = str(error).rpartition("exit detail: ")
        return "its process has died: " + " ".join(detail.split()).partition(". ")[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
