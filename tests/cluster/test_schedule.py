"""The schedule against a simulated clock: nothing lost, little waited for."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cluster.schedule import LEAST_S, PATIENCE, TaskSchedule

POLL_S = 0.1  # an idle worker asks again


def simulated(costs, speeds, *, noise=0.0, seed=0, deaths=(), **arguments):
    """The time a schedule takes on workers of these speeds, and the tasks in the order in which they were begun.

    Args:
        noise: by how much a task may take longer or less than its cost says.
        deaths: how many tasks have been begun when a worker dies, once for each number; a new one comes at once.
    """
    schedule = TaskSchedule(dict(enumerate(costs)), slowest=1e9, **arguments)
    drawn = random.Random(seed)
    speed = {f"worker{n}": each for n, each in enumerate(speeds)}
    for name in speed:
        schedule.join(name)
    events = [(0.0, n, name, None) for n, name in enumerate(speed)]
    begun, finished, now = [], [], 0.0
    while schedule.missing:
        now, _, name, number = heapq.heappop(events)
        if name not in speed:
            continue
        if number is not None and (found := schedule.finish(name, now)) is not None:
            assert found == number
            finished.append(found)
        number = schedule.give(name, now)
        again = now + POLL_S
        if number is not None:
            begun.append(number)
            again = now + costs[number] / speed[name] * drawn.uniform(1 - noise, 1 + noise)
        heapq.heappush(events, (again, len(begun) + drawn.random(), name, number))
        if len(begun) in deaths and number is not None:
            victim = drawn.choice(sorted(speed))
            schedule.leave(victim)
            speed[f"heir of {victim}"] = speed.pop(victim)
            schedule.join(f"heir of {victim}")
            heapq.heappush(events, (now, drawn.random(), f"heir of {victim}", None))
    assert sorted(finished) == list(range(len(costs)))
    return now, begun


def ideal(costs, speeds):
    return sum(costs) / sum(speeds)


def test_the_largest_go_first():
    _, begun = simulated([1, 5, 3, 4, 2], [1.0])
    assert begun == [1, 3, 2, 4, 0]


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.lists(st.floats(0.1, 2), min_size=1, max_size=6))
def test_everything_is_done_whatever_the_workers(costs, speeds):
    _, begun = simulated(costs, speeds)
    assert set(begun) == set(range(len(costs)))


@given(
    st.lists(st.floats(0.5, 1.5), min_size=40, max_size=80),
    st.integers(1, 5),
    st.floats(0, 0.3),
    st.integers(0, 1000),
)
def test_a_worker_ten_times_slower_costs_little(costs, fast, noise, seed):
    """At most what a perfect plan would take, and one task more: tasks cannot be divided."""
    speeds = [1.0] * fast + [0.1]
    took, begun = simulated(costs, speeds, noise=noise, seed=seed)
    assert took <= ideal(costs, speeds) * (1 + noise / 2) + (1 + noise) * max(costs) + 2 * POLL_S
    assert len(begun) <= len(costs) + len(speeds)


@pytest.mark.parametrize("fast", [1, 3, 7])
def test_that_is_within_fifteen_percent_where_each_worker_has_ten_tasks(fast):
    drawn = random.Random(fast)
    costs = [drawn.uniform(0.5, 1.5) for _ in range(10 * (fast + 1))]
    speeds = [1.0] * fast + [0.1]
    took, _ = simulated(costs, speeds, noise=0.1)
    assert took < 1.15 * ideal(costs, speeds)


def test_no_copies_no_task_begun_twice():
    costs = [1.0] * 12
    _, begun = simulated(costs, [1.0, 1.0, 0.01], copies=False)
    assert sorted(begun) == list(range(12))


@given(st.lists(st.integers(1, 60), max_size=20), st.integers(0, 1000))
def test_deaths_cost_the_task_that_the_dead_was_at(deaths, seed):
    costs = [1.0 + n % 3 for n in range(40)]
    _, begun = simulated(costs, [1.0, 1.0, 1.0], deaths=deaths, seed=seed, copies=False)
    assert len(begun) <= len(costs) + len(set(deaths))


@pytest.fixture
def schedule():
    """Ten equal tasks and two workers."""
    made = TaskSchedule(dict.fromkeys(range(10), 1.0), slowest=1000.0)
    made.join("quick")
    made.join("other")
    return made


def test_before_anything_is_known_a_task_may_take_very_long(schedule):
    schedule.give("quick", 0.0)
    assert schedule.overdue(999.0) == []
    assert schedule.overdue(1001.0) == ["quick"]


def test_who_needs_ten_times_as_long_as_usual_hangs(schedule):
    schedule.give("quick", 0.0)
    schedule.finish("quick", 100.0)
    schedule.give("quick", 100.0)
    assert schedule.overdue(100.0 + 100 * PATIENCE) == []
    assert schedule.overdue(101.0 + 100 * PATIENCE) == ["quick"]


def test_a_newcomer_may_be_slower_than_the_others(schedule):
    schedule.give("quick", 0.0)
    schedule.finish("quick", 10.0)
    schedule.give("other", 10.0)
    assert schedule.overdue(10.0 + 2 * 10 * PATIENCE) == []
    assert schedule.overdue(10.0 + 4 * 10 * PATIENCE) == ["other"]


def test_a_task_that_has_failed_gets_more_time(schedule):
    schedule.leave("other")
    schedule.give("quick", 0.0)
    schedule.finish("quick", 0.001)
    number = schedule.give("quick", 1.0)
    assert schedule.overdue(1.0 + LEAST_S) == []
    assert schedule.overdue(2.0 + LEAST_S) == ["quick"]
    assert schedule.leave("quick", blamed=True) == (number, 1)
    schedule.join("quick")
    assert schedule.give("quick", 2.0) == number
    assert schedule.overdue(3.0 + LEAST_S) == []


def test_what_has_failed_is_tried_again_before_the_others(schedule):
    schedule.leave("other")
    number = schedule.give("quick", 0.0)
    schedule.leave("quick", blamed=True)
    schedule.join("quick")
    assert schedule.give("quick", 1.0) == number


def test_three_failures_are_counted_but_lost_machines_are_not():
    schedule, counted = TaskSchedule({0: 1.0}, slowest=1000.0), []
    for blamed in (True, False, True, True):
        schedule.join("victim")
        schedule.give("victim", 0.0)
        counted.append(schedule.leave("victim", blamed=blamed)[1])
    assert counted == [1, 1, 2, 3]


def test_the_first_result_counts_and_the_late_one_is_nothing(schedule):
    schedule.give("other", 0.0)  # task 0, and then nothing is heard for long
    for second in range(9):
        schedule.give("quick", float(second))
        assert schedule.finish("quick", second + 1.0) is not None
    assert schedule.give("quick", 9.0) == 0
    assert schedule.finish("quick", 10.0) == 0
    assert schedule.missing == 0
    assert schedule.finish("other", 11.0) is None


def test_a_copy_that_dies_leaves_the_first_at_work(schedule):
    late = schedule.give("other", 0.0)
    for second in range(9):
        schedule.give("quick", float(second))
        schedule.finish("quick", second + 1.0)
    schedule.give("quick", 9.0)
    schedule.leave("quick")
    schedule.join("third")
    assert schedule.give("third", 9.0) == late  # a copy again, it is not begun anew
    assert schedule.finish("other", 9.5) == late


def test_what_was_begun_before_tells_no_speed():
    schedule = TaskSchedule({0: 1.0, 1: 1.0}, slowest=1000.0, resumed=[0])
    schedule.join("worker")
    schedule.give("worker", 0.0)
    schedule.finish("worker", 1.0)  # nearly nothing was left to do
    schedule.give("worker", 1.0)
    assert schedule.overdue(900.0) == []


def test_a_task_that_is_dropped_is_not_given_any_more(schedule):
    schedule.drop(0)
    given_out = set()
    while schedule.missing:
        given_out.add(schedule.give("quick", 0.0))
        schedule.finish("quick", 1.0)
    assert given_out == set(range(1, 10))
