"""Gives the tasks of a schedule to a pool of workers, and replaces workers that fail."""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayTaskError

from fewshot_nas.cli.errors import InputError, TaskError
from fewshot_nas.cluster.schedule import TaskSchedule
from fewshot_nas.cluster.worker import Packed
from fewshot_nas.cluster.worker_pool import Reply, Worker, WorkerPool, reason

FAILURES = 3  # of one task, before it is given up


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
