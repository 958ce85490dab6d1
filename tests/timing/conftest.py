"""A space whose parts are few, and times that are not measured but made up."""

import random

import pytest

from fewshot_nas.space.presets import SPACES, with_values
from fewshot_nas.timing.programs import distinct_parts
from fewshot_nas.timing.table import LatencyFit, LatencyTable, Timing

TINY = with_values(SPACES["cifar"], {"base_widths": (8, 12, 16), "pool_digits": (2, 2, 2), "resolution": 8})


@pytest.fixture
def table():
    """A table with parts of 5 to 50 microseconds, their calls of 3 included."""
    rng, parts = random.Random(0), distinct_parts(TINY, TINY.pool_options)
    times = {part: Timing(5 + 45 * rng.random(), 0.01) for part in parts}
    device = {"device": "cpu", "name": "made up"}
    return LatencyTable(device, TINY, 4, "pool", Timing(3.0, 0.01), times, LatencyFit(0, 1, (0, 0, 0)), {})
