"""What is measured of a machine: without the pauses that other processes cause, once, and with signs of life."""

import time

import pytest

from fewshot_nas.cli.waiting import waiting
from fewshot_nas.fitting.timings import MOST_SLOWED, Timings

COMPUTED_S = 0.004


def _computing(pause_s):
    """A program that computes for a while, and waits as if other processes had the processor."""

    def run():
        begun_s = time.process_time()
        while time.process_time() < begun_s + COMPUTED_S:
            pass
        time.sleep(pause_s)

    return lambda: run


def _refused():
    raise AssertionError("it is known")


@pytest.mark.parametrize("pause_s", [0.0, 0.004, 0.03])
def test_a_busy_machine_changes_no_time_but_says_how_busy_it_is(pause_s):
    timings = Timings()
    assert timings.alone_s("a", _computing(pause_s), one_thread=True) == pytest.approx(COMPUTED_S, rel=0.3)
    assert min(MOST_SLOWED, 0.8 * (1 + pause_s / COMPUTED_S)) <= timings.slowed <= MOST_SLOWED


def test_of_several_threads_the_fastest_short_measurement_counts():
    pauses = iter([0.05] + [0.001] * 20 + [0.02] * 10_000)
    found = Timings().alone_s("a", lambda: lambda: time.sleep(next(pauses)), one_thread=False)
    assert 0.001 <= found < 0.015


def test_what_was_measured_is_kept_for_this_machine(tmp_path):
    path = tmp_path / "timings.json"
    timings = Timings.of(path, {"cores": 2})
    timings.look()
    first = timings.alone_s("a", _computing(0.004), one_thread=True)
    again = Timings.of(path, {"cores": 2})
    again.look()
    assert again == timings
    assert again.alone_s("a", _refused, one_thread=True) == first
    assert (again.slowed, again.said) == (timings.slowed, timings.said)
    assert str(path) in again.said
    assert Timings.of(path, {"cores": 4}).known == {}
    path.write_text('{"known": {}, "more": 1}')
    assert Timings.of(path, {"cores": 2}) == Timings(path, {"cores": 2})


def test_a_long_wait_is_not_silent(capsys):
    with waiting("still at it", every_s=0.02):
        time.sleep(0.3)
    said = capsys.readouterr().out
    assert said.startswith("      still at it (0 s)\n")
    time.sleep(0.1)
    assert capsys.readouterr().out == ""
