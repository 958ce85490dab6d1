"""A space whose parts are few, and times that are not measured but made up."""

import dataclasses
import random

import pytest

from fewshot_nas.searching.decisions import Decisions
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.timing.programs import distinct_parts
from fewshot_nas.timing.table import LatencyFit, LatencyTable, Timing

TINY = dataclasses.replace(SPACES["cifar"], base_widths=(8, 12, 16), pool_digits=(2, 2, 2), resolution=8).marked()


@pytest.fixture
def table():
    """A table with parts of 5 to 50 microseconds, their calls of 3 included."""
    rng, decisions = random.Random(0), Decisions(TINY, TINY.pool_digits)
    parts = distinct_parts(TINY, list(map(decisions.block, decisions.all)))
    times = {part: Timing(5 + 45 * rng.random(), 0.01) for part in parts}
    device = {"device": "cpu", "name": "made up"}
    return LatencyTable(device, TINY, 4, TINY.pool_digits, Timing(3.0, 0.01), times, LatencyFit(0, 1, (0, 0, 0)), {})
