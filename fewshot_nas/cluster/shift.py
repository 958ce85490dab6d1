"""Lets a crew do all tasks of a schedule; workers may fail."""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import RayTaskError

from fewshot_nas.cluster.crew import Crew, Member, Reply, reason
from fewshot_nas.cluster.schedule import TaskSchedule
from fewshot_nas.cluster.worker import Parcel
from fewshot_nas.errors import InputError, TaskError

FAILURES = 3  # of one task, before it is given up


def results(crew: Crew, parcel: Parcel, schedule: TaskSchedule) -> Iterator[tuple[int, Any]]:
    """Do all tasks of a schedule; yield their numbers and results as they finish.

    A task that has failed on three workers is set aside, and its error is raised when all others
    are done; at once if none has been done, for then the task is hardly to blame.

    Raises:
        TaskError: a task has failed too often.
        InputError: no worker can be started, or one cannot take the work.
    """
    shift = _Shift(crew, parcel, schedule)
    try:
        yield from shift.results()
    finally:
        shift.end()


class _Shift:
    def __init__(self, crew: Crew, parcel: Parcel, schedule: TaskSchedule) -> None:
        self._crew, self._schedule, self._parcel = crew, schedule, ray.put(parcel)
        self._ready: dict[str, Member] = {}
        self._idle: set[str] = set()
        self._errors: list[TaskError] = []
        self._done = 0

    def results(self) -> Iterator[tuple[int, Any]]:
        for member in self._crew.members:
            self._crew.ask("take", member, self._parcel)
        while self._schedule.missing:
            self._crew.hire(self._schedule.missing)
            self._replace_overdue()
            for answer in self._crew.answers():
                yield from self._heard(answer)
            self._hand_out()
        if self._errors:
            raise self._errors[0]

    def end(self) -> None:
        """End the workers that are computing a task of this shift."""
        for name in self._ready.keys() - self._idle:
            self._crew.dismiss(self._ready[name])

    def _heard(self, answer: Reply) -> Iterator[tuple[int, Any]]:
        member = answer.member
        if answer.error:
            self._lost(member, answer)
        elif answer.question == "greet":
            self._crew.ask("take", member, self._parcel)
        elif answer.question == "take":
            self._schedule.join(member.name)
            self._ready[member.name] = member
            self._idle.add(member.name)
        else:
            self._idle.add(member.name)
            number = self._schedule.finish(member.name, time.monotonic())
            if number is not None:
                self._done += 1
                yield number, answer.value

    def _hand_out(self) -> None:
        for name in sorted(self._idle):
            number = self._schedule.give(name, time.monotonic())
            if number is not None:
                self._idle.remove(name)
                self._crew.ask("compute", self._ready[name], number)

    def _replace_overdue(self) -> None:
        for name in self._schedule.overdue(time.monotonic()):
            self._replace(self._ready[name], "it did not answer any more", blamed=True)

    def _lost(self, member: Member, answer: Reply) -> None:
        assert answer.error
        if answer.question == "take" and isinstance(answer.error, RayTaskError):
            raise InputError(f"{member.host}: {answer.error.cause}")
        there = self._crew.is_there(member)
        self._replace(member, reason(answer.error) if there else "its machine has gone", blamed=there)

    def _replace(self, member: Member, said: str, *, blamed: bool) -> None:
        """End a worker, and let another one do its task unless the task has failed too often."""
        self._crew.dismiss(member)
        self._ready.pop(member.name, None)
        self._idle.discard(member.name)
        number, failures = self._schedule.leave(member.name, blamed=blamed)
        self._crew.report(f"the worker on {member.host} is replaced: {said}")
        if number is not None and failures == FAILURES:
            self._schedule.drop(number)
            self._errors.append(TaskError(number, f"has failed {FAILURES} times, at last on {member.host}: {said}"))
            if not self._done:
                raise self._errors[0]
