"""A driver's workers: it starts them where there is room, gives them questions, and ends them."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from fewshot_nas.cluster.connection import Needs, connected, nodes
from fewshot_nas.cluster.worker import Greeting, Worker, package
from fewshot_nas.distributed import Settings
from fewshot_nas.errors import InputError

_POLL_S = 0.2
_LOOK_S = 1.0  # between two looks at the cluster's machines
_WAIT_S = 15.0  # without a worker, before the user is told
_FAILED_STARTS = 3  # in a row, before any worker has come


@dataclass(eq=False)
class Member:
    """A worker as its driver knows it."""

    name: str
    actor: Any
    greeting: Greeting | None = None

    @property
    def host(self) -> str:
        """The machine's name, for messages."""
        return self.greeting.host if self.greeting else "a machine"


@dataclass(frozen=True)
class Reply:
    """A member's answer to a question, or the error that came instead."""

    question: str
    member: Member
    value: Any = None
    error: RayError | None = None


class Crew:
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
        self._needs, self._most = needs.settled(), most
        self._members: dict[str, Member] = {}
        self._asked: dict[Any, tuple[str, Member]] = {}
        self._first: Greeting | None = None
        self._expected: dict[str, Any] = {"fewshot-nas": package()}
        self._refused: dict[str, str] = {}
        self._failed_starts = 0
        self._places, self._looked_s = 0, -_LOOK_S
        self._alone_s: float | None = time.monotonic()

    @property
    def members(self) -> list[Member]:
        """The workers that have answered and were accepted."""
        return [member for member in self._members.values() if member.greeting]

    def first(self, expected: Mapping[str, Any]) -> Greeting:
        """Wait for the first worker, and return its greeting.

        Args:
            expected: numerics that the workers must have; may be empty.

        Raises:
            InputError: no worker can be started.
        """
        self._expected |= expected
        while self._first is None:
            self.hire(1)
            list(self.answers())
        return self._first

    def hire(self, useful: int) -> None:
        """Start workers where there is room.

        Args:
            useful: the number of workers that there is work for.

        Raises:
            InputError: there is no machine on which a worker may run.
        """
        room = self._room()
        while len(self._members) < min(self._most or room, useful):
            self._start()
        if self.members:
            self._alone_s = None
        elif self._alone_s is None:
            self._alone_s = time.monotonic()
        elif time.monotonic() - self._alone_s > _WAIT_S:
            self._alone_s += 20 * _WAIT_S  # said again after minutes
            self.report(f"waiting for a machine with room for a worker ({self._needs})")

    def ask(self, question: str, member: Member, *arguments: Any) -> None:
        """Call a method of a worker; its answer will be among `answers`."""
        self._asked[getattr(member.actor, question).remote(*arguments)] = question, member

    def answers(self) -> Iterator[Reply]:
        """Yield the replies that have arrived; wait a moment if there are none. A new worker first answers `greet`."""
        if not self._asked:
            time.sleep(_POLL_S)
            return
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=_POLL_S)
        for reference in ready:
            question, member = self._asked.pop(reference)
            try:
                answer = Reply(question, member, ray.get(reference))
            except RayError as error:
                answer = Reply(question, member, error=error)
            if question != "greet" or self._welcome(answer):
                yield answer

    def dismiss(self, member: Member) -> None:
        """End a worker, even in the middle of a task."""
        self._members.pop(member.name, None)
        self._asked = {reference: asked for reference, asked in self._asked.items() if asked[1] is not member}
        ray.kill(member.actor)

    def is_there(self, member: Member) -> bool:
        """Whether a worker's machine still belongs to the cluster."""
        return member.greeting is not None and any(node["NodeID"] == member.greeting.node for node in nodes())

    def close(self) -> None:
        """End all workers."""
        for member in list(self._members.values()):
            self.dismiss(member)

    def _room(self) -> int:
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            there = nodes()
            self._places = sum(self._needs.fit_into(node) for node in there if node["NodeID"] not in self._refused)
            if not self._places and any(node["NodeID"] in self._refused for node in there):
                raise InputError(f"no other machine is left: {'; '.join(self._refused.values())}")
        return self._places

    def _start(self) -> None:
        allowed = {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None
        options = {"num_cpus": self._needs.cores, "num_gpus": self._needs.gpus, "label_selector": allowed}
        actor = ray.remote(Worker).options(**options).remote(self._needs.device, self._needs.settings)
        member = Member(uuid.uuid4().hex, actor)
        self._members[member.name] = member
        self.ask("greet", member)

    def _welcome(self, answer: Reply) -> bool:
        """Accept a new worker if it has started and computes like the others; returns whether it was accepted."""
        member = answer.member
        if answer.error:
            self.dismiss(member)
            self._failed_starts += 1
            if self._failed_starts == _FAILED_STARTS and self._first is None:
                raise InputError(f"no worker can be started: {reason(answer.error)}")
            return False
        greeting: Greeting = answer.value
        self._failed_starts = 0
        if differences := greeting.differences(self._expected):
            self._refuse(member, greeting, differences)
            return False
        if self._first is None:
            self._first, self._expected = greeting, {**self._expected, **greeting.numerics}
        member.greeting = greeting
        return True

    def _refuse(self, member: Member, greeting: Greeting, differences: list[str]) -> None:
        self.dismiss(member)
        if greeting.node not in self._refused:
            said = f"{greeting.host} is left out, it has {', '.join(differences)}"
            self._refused[greeting.node] = said
            self._looked_s = -_LOOK_S
            self.report(said)


@contextmanager
def crew_on(
    address: str | None, most: int | None, device: str | None, settings: Settings, report: Callable[[str], None]
) -> Iterator[Crew]:
    """A crew on the cluster at an address; the arguments are those of `connected`, `Crew` and `Needs`.

    Raises:
        InputError: there is no such cluster.
    """
    needs = Needs(device, settings)
    with connected(address, (most or 0) * needs.cores, report), closing(Crew(needs, most, report)) as crew:
        yield crew


def reason(error: RayError) -> str:
    """A worker's error in a line."""
    if isinstance(error, RayTaskError):
        said = " ".join(str(error.cause).split())
        return f"{type(error.cause).__name__}: {said}"
    if isinstance(error, ActorDiedError):
        _, _, detail = str(error).rpartition("exit detail: ")
        return "its process has died: " + " ".join(detail.split()).partition(". ")[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
