"""A pool of workers: the driver starts them where there is room, gives them the tasks of a schedule, and stops them."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from fewshot_nas.cli.errors import InputError, TaskError
from fewshot_nas.cluster.schedule import TaskSchedule
from fewshot_nas.cluster.worker import Needs, Packed, WorkerActor, WorkerInfo, connected, nodes, package
from fewshot_nas.computing import Settings

_POLL_S = 0.2
_LOOK_S = 1.0  # between two looks at the cluster's machines
_WAIT_S = 15.0  # without a worker, before a line tells the user
_FAILED_STARTS = 3  # in a row, before any worker has come
FAILURES = 3  # of one task, before it is given up


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


def results(workers: WorkerPool, work: Packed, schedule: TaskSchedule) -> Iterator[tuple[int, Any]]:
    """Do all tasks of a schedule; yield their numbers and results as they finish.

    A task that has failed on three workers is set aside, and its error is raised when all others
    are done; at once if none has been done, for then the task is hardly to blame.

    Raises:
        TaskError: a task has failed too often.
        InputError: no worker can be started, or one cannot take the work.
    """
    dispatch = _Dispatch(workers, work, schedule)
    try:
        yield from dispatch.results()
    finally:
        dispatch.end()


class _Dispatch:
    def __init__(self, workers: WorkerPool, work: Packed, schedule: TaskSchedule) -> None:
        self._workers, self._schedule, self._work = workers, schedule, ray.put(work)
        self._ready: dict[str, Worker] = {}
        self._idle: set[str] = set()
        self._errors: list[TaskError] = []
        self._done = 0

    def results(self) -> Iterator[tuple[int, Any]]:
        for worker in self._workers.accepted:
            self._workers.call("take", worker, self._work)
        while self._schedule.missing:
            self._workers.start(self._schedule.missing)
            for name in self._schedule.overdue(time.monotonic()):
                self._replace(self._ready[name], "it did not answer any more", blamed=True)
            for reply in self._workers.replies():
                yield from self._handle(reply)
            self._assign()
        if self._errors:
            raise self._errors[0]

    def end(self) -> None:
        """Stop the workers that are still computing a task, which nobody wants any more."""
        for name in self._ready.keys() - self._idle:
            self._workers.stop(self._ready[name])

    def _handle(self, reply: Reply) -> Iterator[tuple[int, Any]]:
        worker = reply.worker
        if reply.error:
            self._failed(worker, reply)
        elif reply.method == "describe":
            self._workers.call("take", worker, self._work)
        elif reply.method == "take":
            self._schedule.join(worker.name)
            self._ready[worker.name] = worker
            self._idle.add(worker.name)
        else:
            self._idle.add(worker.name)
            number = self._schedule.finish(worker.name, time.monotonic())
            if number is not None:
                self._done += 1
                yield number, reply.value

    def _assign(self) -> None:
        for name in sorted(self._idle):
            number = self._schedule.give(name, time.monotonic())
            if number is not None:
                self._idle.remove(name)
                self._workers.call("compute", self._ready[name], number)

    def _failed(self, worker: Worker, reply: Reply) -> None:
        assert reply.error
        if reply.method == "take" and isinstance(reply.error, RayTaskError):
            raise InputError(f"{worker.host}: {reply.error.cause}")
        there = self._workers.is_there(worker)
        self._replace(worker, reason(reply.error) if there else "its machine has gone", blamed=there)

    def _replace(self, worker: Worker, said: str, *, blamed: bool) -> None:
        """Stop a worker, and let another one do its task unless the task has failed too often."""
        self._workers.stop(worker)
        self._ready.pop(worker.name, None)
        self._idle.discard(worker.name)
        number, failures = self._schedule.leave(worker.name, blamed=blamed)
        self._workers.report(f"the worker on {worker.host} is replaced: {said}")
        if number is not None and failures == FAILURES:
            self._schedule.drop(number)
            self._errors.append(TaskError(number, f"has failed {FAILURES} times, at last on {worker.host}: {said}"))
            if not self._done:
                raise self._errors[0]
