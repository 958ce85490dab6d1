"""Decides which task a worker gets next, and which worker takes too long.

It knows neither Ray nor a clock: its caller passes the time. The largest tasks go first. A worker gets a task only
if no other worker would finish it sooner, judged by the speed that each has shown. So a slow worker does not get
a task that all others would have to wait for at the end. When no task is left, an idle worker repeats a task that
another worker is late with, and the first result counts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

PATIENCE = 10  # a worker that takes so many times the expected duration is taken to hang
NEWCOMER = 3  # the patience is so many times longer for a worker whose speed is not known yet
SLOWEST = 1e8  # multiply-adds a second of the slowest worker; a processor's core does a hundred times as many
LEAST_S = 60.0  # no worker is taken to hang earlier
WORTHWHILE = 0.8  # a copy is begun if it should take less than this share of the time that the first one still needs


@dataclass
class _Worker:
    """A worker as the schedule knows it.

    Attributes:
        task: the number of its task; None if it is idle.
        since: when it began the task.
        cost, seconds: sums over the tasks that it has finished; the latest counts most.
    """

    task: int | None = None
    since: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0

    @property
    def pace(self) -> float | None:
        """Seconds for one unit of cost."""
        return self.seconds / self.cost if self.cost else None


class TaskSchedule:
    """Tasks with costs, handed out to workers that come and go. Times are in seconds.

    Args:
        costs: of the tasks by their numbers, for instance multiply-adds; durations are about proportional to them.
        slowest: seconds for one unit of cost that no worker exceeds. It limits the tasks that are
            begun before any is finished.
        resumed: tasks that go on where an earlier attempt was stopped. Their durations do not show a worker's speed.
        copies: whether a task may run on two workers at once.

    >>> schedule = TaskSchedule({0: 2.0, 1: 5.0, 2: 3.0}, slowest=100.0)
    >>> schedule.join("a"), schedule.join("b")
    (None, None)
    >>> schedule.give("a", now=0.0), schedule.give("b", now=0.0)
    (1, 2)
    >>> schedule.finish("b", now=3.0), schedule.give("b", now=3.0)
    (2, 0)
    """

    def __init__(
        self, costs: Mapping[int, float], *, slowest: float, resumed: Iterable[int] = (), copies: bool = True
    ) -> None:
        self._costs, self._slowest, self._copies = dict(costs), slowest, copies
        self._missing, self._resumed = set(costs), set(resumed)
        self._workers: dict[str, _Worker] = {}
        self._failures: Counter[int] = Counter()
        self._left = sorted(costs, key=self._urgency)
        self._last_pace: float | None = None  # the median before somebody left

    @property
    def missing(self) -> int:
        """The number of tasks that are not finished."""
        return len(self._missing)

    def join(self, worker: str) -> None:
        """Note that a worker has come."""
        self._workers[worker] = _Worker()

    def leave(self, worker: str, *, blamed: bool = False) -> tuple[int | None, int]:
        """Note that a worker has gone. Another one has to do its task.

        Args:
            blamed: whether its task may be the reason.

        Returns:
            The task that has to be done again, and how often it has failed.
        """
        median_pace = self._median_pace()
        number = self._workers.pop(worker, _Worker()).task
        self._last_pace = median_pace
        if number not in self._missing:
            return None, 0
        self._failures[number] += blamed
        self._resumed.add(number)
        if not self._holders(number):
            self._left = sorted([*self._left, number], key=self._urgency)
        return number, self._failures[number]

    def drop(self, number: int) -> None:
        """Give a task up."""
        self._missing.discard(number)
        self._left = [each for each in self._left if each != number]

    def give(self, worker: str, now: float) -> int | None:
        """The task that an idle worker begins now; None if it should stay idle for a while."""
        number = self._fitting(worker, now) if self._left else self._late(worker, now)
        if number is not None:
            self._workers[worker].task, self._workers[worker].since = number, now
            self._left = [each for each in self._left if each != number]
        return number

    def finish(self, worker: str, now: float) -> int | None:
        """Note that a worker has finished its task; returns the task, or None if another worker was faster."""
        state = self._workers[worker]
        number, state.task = state.task, None
        assert number is not None
        if number not in self._resumed:
            state.cost = state.cost / 2 + self._costs[number]
            state.seconds = state.seconds / 2 + now - state.since
        if number not in self._missing:
            return None
        self._missing.remove(number)
        return number

    def overdue(self, now: float) -> list[str]:
        """The workers that have computed a task for so long that they are taken to hang."""
        busy = [(name, each) for name, each in self._workers.items() if each.task is not None]
        return [name for name, each in busy if now - each.since > self._allowed_s(each)]

    def _urgency(self, number: int) -> tuple[int, float]:
        """The key of the tasks' order: failed ones first, to know soon whether they can be done, then large ones."""
        return -self._failures[number], -self._costs[number]

    def _allowed_s(self, worker: _Worker) -> float:
        assert worker.task is not None
        median_pace = self._median_pace()
        if worker.pace is not None:
            pace = PATIENCE * worker.pace
        else:
            pace = self._slowest if median_pace is None else NEWCOMER * PATIENCE * median_pace
        return max(LEAST_S, pace * self._costs[worker.task]) * 2.0 ** self._failures[worker.task]

    def _fitting(self, worker: str, now: float) -> int | None:
        """The largest task that no other worker would finish sooner, after the larger tasks that it would get."""
        median_pace = self._median_pace()
        if median_pace is None:
            return self._left[0]
        free = {name: self._free_at(each, now, median_pace) for name, each in self._workers.items()}
        paces = {name: each.pace or median_pace for name, each in self._workers.items()}
        for number in self._left:
            ends = {name: free[name] + paces[name] * self._costs[number] for name in free}
            first = min(ends, key=ends.__getitem__)
            if first == worker:
                return number
            free[first] = ends[first]
        return None

    def _late(self, worker: str, now: float) -> int | None:
        """The task of another worker that would end last, if a copy on this one would end well before."""
        median_pace = self._median_pace()
        if median_pace is None or not self._copies:
            return None
        ends = {
            each.task: self._free_at(each, now, median_pace)
            for each in self._workers.values()
            if each.task in self._missing and self._holders(each.task) == 1
        }
        pace = self._workers[worker].pace or median_pace
        worthwhile = [task for task in ends if pace * self._costs[task] < WORTHWHILE * (ends[task] - now)]
        return max(worthwhile, key=ends.__getitem__, default=None)

    def _free_at(self, worker: _Worker, now: float, median_pace: float) -> float:
        """When a worker will have finished; one that is late is taken to need as long again."""
        if worker.task is None:
            return now
        expected, elapsed = (worker.pace or median_pace) * self._costs[worker.task], now - worker.since
        return worker.since + (expected if elapsed < expected else 2 * elapsed)

    def _holders(self, number: int | None) -> int:
        return sum(each.task == number for each in self._workers.values())

    def _median_pace(self) -> float | None:
        known = [each.pace for each in self._workers.values() if each.pace is not None]
        return median(known) if known else self._last_pace
