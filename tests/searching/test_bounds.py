"""Bounds as a person writes them."""

import math

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.searching.bounds import Bound, Limits, read_bounds, shown


def test_units_are_understood():
    assert read_bounds(["params=10"], ["macs=600M", "latency=12ms", "params=1.5k"]) == [
        Bound("macs", high=600e6),
        Bound("latency", high=12_000),
        Bound("params", 10, 1500),
    ]
    assert read_bounds([], ["latency=80us"]) == [Bound("latency", high=80)]
    assert read_bounds([], ["macs=2e6"]) == [Bound("macs", high=2e6)]


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        ([], ["flops=3M"], r"--max is 'flops=3M', expected one of macs=VALUE, params=VALUE, latency=VALUE"),
        ([], ["macs=600MB"], r"--max is 'macs=600MB', expected a number such as macs=600M"),
        ([], ["latency=12"], r"expected a number such as latency=12ms, in us, ms or s"),
        ([], ["latency=12M"], r"expected a number such as latency=12ms, in us, ms or s"),
        (["macs"], [], r"--min is 'macs', expected a number"),
        ([], ["macs=-3"], r"expected a number"),
        ([], ["macs=3", "macs=4"], r"--max macs=4: macs has such a bound already"),
        (["macs=2M"], ["macs=1M"], r"no network has macs >= 2 M and <= 1 M: --min macs is larger than --max macs"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(least, most, message):
    with pytest.raises(InputError, match=message):
        read_bounds(least, most)


def test_values_are_shown_with_their_units():
    assert [shown("macs", value) for value in (12, 1500, 2.5e6, 3.25e9)] == ["12", "1.5 k", "2.5 M", "3.25 G"]
    assert [shown("latency", value) for value in (0.5, 80, 1500, 2e6)] == ["0.5 us", "80 us", "1.5 ms", "2 s"]


def test_excess_is_relative_and_zero_inside():
    bound = Bound("macs", 100, 200)
    assert [bound.excess(value) for value in (100, 150, 200)] == [0, 0, 0]
    assert bound.excess(300) == 0.5
    assert bound.excess(50) == 0.5
    assert Bound("macs").excess(math.inf) == 0


def test_an_arch_fits_where_all_its_measures_do(tiny):
    space, measures, costs = tiny
    limits = Limits(space, [Bound("macs", high=60_000), Bound("params", low=2_000)], measures)
    for arch, cost in costs.items():
        assert limits.fits(arch) == (cost["macs"] <= 60_000 and cost["params"] >= 2_000)
        assert limits.costs(arch) == cost
