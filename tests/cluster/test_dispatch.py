"""A pool of real worker processes at tasks that raise, hang, die or take long."""

import logging
import os
import signal
import sys
import time
from collections import Counter

import pytest

ray = pytest.importorskip("ray")

from fewshot_nas.cli.errors import InputError, TaskError  # noqa: E402
from fewshot_nas.cluster import schedule as module  # noqa: E402
from fewshot_nas.cluster.pool import results  # noqa: E402
from fewshot_nas.cluster.schedule import TaskSchedule  # noqa: E402
from fewshot_nas.evaluation.prefix_tree import make_plan  # noqa: E402
from fewshot_nas.space.pool import make_pool  # noqa: E402
from fewshot_nas.space.presets import SPACES  # noqa: E402
from fewshot_nas.space.split import by_width  # noqa: E402

pytestmark = pytest.mark.ray
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORKERS = 3


@pytest.fixture(scope="module")
def said():
    """The lines that the pool of workers has reported."""
    return []


@pytest.fixture(scope="module")
def workers(make_workers, said):
    with make_workers(WORKERS, said) as made:
        yield made


@pytest.fixture
def run(workers, tasks):
    """Does tasks of these costs; their results by number."""

    def run(do, costs=None, **arguments):
        costs = costs or dict.fromkeys(range(12), 1.0)
        return dict(results(workers, tasks(do), TaskSchedule(costs, slowest=1000.0, **arguments)))

    return run


def once(path):
    """Whether this is the first call with a path, on any worker."""
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    return True


def test_each_task_is_done_once_on_several_workers(run, begun):
    found = run(lambda number: (number**2, time.sleep(0.02), os.getpid()))
    assert {number: square for number, (square, _, _) in found.items()} == {n: n**2 for n in range(12)}
    assert os.getpid() not in {pid for *_, pid in found.values()}
    assert sorted(begun()) == list(range(12))


def test_a_task_that_fails_twice_is_done_in_the_end(run, begun, said, tmp_path):
    def do(number):
        if number == 5 and (once(tmp_path / "first") or once(tmp_path / "second")):
            raise RuntimeError("out of luck")
        return number

    assert run(do) == {n: n for n in range(12)}
    assert Counter(begun())[5] == 3
    assert "is replaced: RuntimeError: out of luck" in said[-1]


def test_a_task_that_kills_its_worker_is_done_by_another(run, begun, tmp_path):
    def do(number):
        if number == 5 and once(tmp_path / "first"):
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert run(do) == {n: n for n in range(12)}
    assert Counter(begun()) == Counter([*range(12), 5])


@pytest.mark.parametrize("stop", [lambda: time.sleep(1e6), lambda: os.kill(os.getpid(), signal.SIGSTOP)])
def test_who_hangs_is_replaced(run, begun, said, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(module, "LEAST_S", 1.0)

    def do(number):
        if number == 5 and once(tmp_path / "first"):
            stop()
        return time.sleep(0.01)

    run(do, copies=False)
    assert Counter(begun()) == Counter([*range(12), 5])
    assert "it did not answer any more" in said[-1]


def test_after_three_failures_everything_else_is_done(run, begun, tmp_path):
    def do(number):
        time.sleep(0.01)
        if number == 5:
            raise ValueError("never")

    with pytest.raises(TaskError, match=r"has failed 3 times, at last on .*: ValueError: never") as caught:
        run(do, {n: 12.0 - n for n in range(12)})
    assert caught.value.number == 5
    assert Counter(begun()) == Counter([*range(12), 5, 5])


def test_if_nothing_can_be_done_that_is_said_soon(run, begun):
    with pytest.raises(TaskError, match="has failed 3 times"):
        run(lambda number: 1 // 0)
    assert len(begun()) <= 3 * WORKERS


def test_who_does_not_begin_is_named(workers):
    class Odd:
        def unpacked(self, world):
            raise InputError("has not the driver's images")

    with pytest.raises(InputError, match=r"\(\d+\.\d+\.\d+\.\d+\): has not the driver's images"):
        dict(results(workers, Odd(), TaskSchedule({0: 1.0}, slowest=1000.0)))


def test_a_dispatch_that_is_broken_off_leaves_nobody_at_work(workers, run, tasks, tmp_path):
    begun = results(
        workers, tasks(lambda number: time.sleep(0.01 if number else 1e6)), TaskSchedule({0: 1.0, 1: 1.0}, slowest=1e3)
    )
    next(begun)
    begun.close()
    assert len(run(lambda number: number)) == 12


def test_a_worker_ten_times_slower(run, tmp_path):
    """Units of a real plan, which take as long as their multiply-adds say: within 1.15 of the ideal."""
    archs = list(make_pool(SPACES["px8"], 0, 300).values())
    plan = make_plan(by_width(SPACES["px8"], 2), archs, unit_networks=8)
    costs = {number: float(unit.macs) for number, unit in enumerate(plan.units)}
    ideal_s, speeds = 12.0, WORKERS - 1 + 0.1
    pace = ideal_s * speeds / sum(costs.values())
    slow = tmp_path / "slow"

    def do(number):
        if once(slow):
            slow.write_text(str(os.getpid()))
        time.sleep(pace * costs[number] * (10 if slow.read_text() == str(os.getpid()) else 1))

    run(lambda number: time.sleep(0.3))  # all have come
    begun_s = time.monotonic()
    run(do, costs)
    ratio = (time.monotonic() - begun_s) / ideal_s
    logging.getLogger(__name__).info("%d units took %.3f of the ideal time", len(costs), ratio)
    assert ratio < 1.15
