"""Rounds: turns in orders of their own, the fastest run of each, medians."""

import pytest

from fewshot_nas.timing.measuring import LEAST_RUNS, MOST_RUNS, rounds, timings
from fewshot_nas.timing.table import Timing


class Fake:
    """A stopwatch whose time programs move."""

    def __init__(self):
        self.now, self.ran = 0.0, []

    def program(self, name, seconds):
        times = iter(seconds)

        def call():
            self.ran.append(name)
            self.now += next(times)

        return call

    def __call__(self, program):
        start = self.now
        program()
        return self.now - start


def test_the_fastest_run_of_a_turn_counts():
    fake = Fake()
    programs = {"slow": fake.program("slow", [0.5, 0.2, 0.4])}
    assert list(rounds(programs, 1, stopwatch=fake)) == [{"slow": pytest.approx(2e5)}]
    assert len(fake.ran) == LEAST_RUNS


def test_a_short_program_runs_more_often_in_its_turn():
    fake = Fake()
    list(rounds({"short": fake.program("short", [1e-6] * 100)}, 1, stopwatch=fake))
    assert len(fake.ran) == MOST_RUNS


def test_every_round_has_all_programs_in_another_order():
    fake = Fake()
    programs = {name: fake.program(name, [1.0] * 100) for name in "abcdef"}
    found = list(rounds(programs, 3, stopwatch=fake))
    orders = [tuple(each) for each in found]
    assert all(sorted(order) == list("abcdef") for order in orders)
    assert len(set(orders)) == 3
    runs = [tuple(dict.fromkeys(fake.ran[start : start + 6 * LEAST_RUNS])) for start in range(0, 54, 18)]
    assert runs == orders  # one program has all its runs before the next


def test_a_timing_is_a_median_with_half_the_middle_range():
    measured = [{"a": value} for value in (10.0, 30.0, 20.0, 22.0, 18.0)]
    assert timings(measured) == {"a": Timing(20.0, 0.1)}
