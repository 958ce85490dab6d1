"""The fit finds what made the latencies, and is judged on other networks."""

import random

import pytest

from fewshot_nas.space.space import random_arch
from fewshot_nas.timing.measuring import errors_on, fitted
from fewshot_nas.timing.table import LatencyFit


@pytest.fixture
def networks(table):
    rng = random.Random(3)
    archs = dict.fromkeys(random_arch(table.space, rng, table.space.pool_options) for _ in range(60))
    made = table.__class__(**{**vars(table), "fit": LatencyFit(20.0, 1.2, (0.0, 4.0, 9.0))})
    return {arch: made.measure.of(table.space, arch) for arch in archs}


def test_the_fit_finds_what_made_the_latencies(table, networks):
    found = fitted(table, networks).fit
    assert found.constant_us == pytest.approx(20, rel=1e-6)
    assert found.scale == pytest.approx(1.2, rel=1e-6)
    assert found.per_block_us == pytest.approx((0, 4, 9), abs=1e-5)


def test_constants_are_never_negative(table, networks):
    cheap = {arch: us - 25 for arch, us in networks.items()}  # without that rule, the constant is -5
    found = fitted(table, cheap).fit
    assert found.constant_us == 0
    assert min(found.scale, *found.per_block_us) >= 0


def test_a_perfect_table_is_judged_so_and_a_wrong_network_is_the_worst(table, networks):
    perfect = fitted(table, networks)
    found = errors_on(perfect, networks)
    assert found["mean_error_percent"] == 0
    assert found["tau"] == 1
    wrong = list(networks)[7]
    found = errors_on(perfect, networks | {wrong: 2 * networks[wrong]})
    assert found["worst"]["code"] == table.space.encode(wrong)
    assert found["largest_error_percent"] == pytest.approx(50, abs=0.01)
    assert found["mean_error_percent"] == pytest.approx(50 / len(networks), abs=0.01)
    assert found["tau"] < 1
