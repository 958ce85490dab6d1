"""Timing many programs in turns, so that a machine that becomes slower does so for all of them."""

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

import numpy as np

from fewshot_nas.space.draw import shuffled
from fewshot_nas.timing.table import Timing

K = TypeVar("K", bound=Hashable)
LEAST_RUNS, MOST_RUNS = 3, 30
TURN_S = 0.006  # a short program is repeated for so long in its turn


Program = Callable[[], object]
Stopwatch = Callable[[Program], float]  # runs a program once; the seconds that it took


def by_wall(program: Program) -> float:
    """Seconds of a call, by the clock on the wall: for programs that have ended when they return."""
    start = time.perf_counter()
    program()
    return time.perf_counter() - start


def rounds(
    programs: Mapping[K, Program], count: int, seed: int = 0, stopwatch: Stopwatch = by_wall
) -> Iterator[dict[K, float]]:
    """Yield the times of a round, in microseconds: each program has one turn, in a random order.

    In its turn a program runs a few times, and the fastest run counts. The other runs were interrupted, or
    found the caches full of another program's data.

    Args:
        count: number of rounds.
    """
    names = list(programs)
    for number in range(count):
        order = shuffled(Random(f"{seed}/{number}"), range(len(names)))
        yield {names[place]: 1e6 * _fastest(programs[names[place]], stopwatch) for place in order}


def _fastest(program: Program, stopwatch: Stopwatch) -> float:
    best, spent, runs = math.inf, 0.0, 0
    while runs < LEAST_RUNS or (spent < TURN_S and runs < MOST_RUNS):
        taken = stopwatch(program)
        best, spent, runs = min(best, taken), spent + taken, runs + 1
    return best


def timings(measured: Sequence[Mapping[K, float]]) -> dict[K, Timing]:
    """Medians and spreads over rounds."""
    return {name: _timing(np.array([each[name] for each in measured])) for name in measured[0]}


def _timing(values: Any) -> Timing:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Timing(round(float(middle), 3), round(float((high - low) / 2 / middle), 4))
