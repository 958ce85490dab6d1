"""Bounds that can or cannot be met, against all archs one by one."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.cost import Bound, Limits, Measure, cost_measures, shown
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), kinds=st.tuples(*[st.sampled_from(["low", "high", "both", "none"])] * 2))
def test_an_arch_is_found_where_there_is_one_and_only_there(small, seed, kinds):
    """Bounds at costs that archs have, to the last multiply-add."""
    space, measures, costs = small
    rng, known = random.Random(seed), list(costs.values())
    bounds = []
    for name, kind in zip(("macs", "params"), kinds, strict=True):
        low, high = sorted(known[int(rng.random() * len(known))][name] for _ in range(2))
        sides = {"low": {"low": high}, "high": {"high": low}, "both": {"low": low, "high": high}, "none": {}}
        bounds.append(Bound(name, **sides[kind]))
    limits = Limits(space, bounds, measures)
    if any(map(limits.fits, costs)):
        assert limits.fits(feasible_arch(limits, space.pool_options))
    else:
        with pytest.raises(InputError, match="no network has"):
            feasible_arch(limits, space.pool_options)


def test_a_bound_out_of_reach_comes_with_the_range(tiny):
    space, measures, costs = tiny
    least = min(cost["macs"] for cost in costs.values())
    with pytest.raises(InputError, match=rf"no network has macs <= .*: macs reaches from {least / 1000:.6g} k to"):
        feasible_arch(Limits(space, [Bound("macs", high=least - 1)], measures), space.pool_options)
    assert feasible_arch(Limits(space, [Bound("macs", high=least)], measures), space.pool_options) in costs


def test_bounds_that_exclude_each_other_come_with_the_range_that_is_left(tiny):
    space, measures, costs = tiny
    bound = sorted(cost["macs"] for cost in costs.values())[len(costs) // 10]
    inside = [cost["params"] for cost in costs.values() if cost["macs"] <= bound]
    bounds = [Bound("macs", high=bound), Bound("params", low=max(inside) + 1)]
    with pytest.raises(InputError) as refused:
        feasible_arch(Limits(space, bounds, measures), space.pool_options)
    reach = f"params reaches from {min(inside) / 1000:.6g} k to {max(inside) / 1000:.6g} k"
    assert str(refused.value) == f"no network has {bounds[1]}: with {bounds[0]}, {reach}"


def test_a_gap_between_two_bounds_is_told(tiny):
    space, measures, costs = tiny
    values = sorted({cost["macs"] for cost in costs.values()})
    low, high = max(itertools.pairwise(values), key=lambda pair: pair[1] - pair[0])
    with pytest.raises(InputError, match="and no network lies between the two bounds"):
        feasible_arch(Limits(space, [Bound("macs", low + 1, high - 1)], measures), space.pool_options)


def test_all_digits_reach_further_than_the_pool_s():
    limits = Limits(PX8, [Bound("macs", high=300_000)], COSTS)
    with pytest.raises(InputError, match="macs reaches from"):
        feasible_arch(limits, PX8.pool_options)
    assert limits.fits(feasible_arch(limits, PX8.all_options))


@pytest.mark.parametrize("odd", [False, True])
def test_the_range_of_a_cost_is_exact_however_odd_the_cost(small, odd):
    """A latency need not grow with the width: a wide block may be faster."""
    space, measures, costs = small

    def block_cost(place, block):
        return random.Random(f"{space.places[place].stage}/{block}").random()

    measure = Measure(block_cost, lambda head: 0.5) if odd else measures["params"]
    values = [measure.of(space, arch) for arch in costs]
    for low, high in ((max(values) * 1.001, float("inf")), (0.0, min(values) * 0.999)):
        with pytest.raises(InputError) as refused:
            feasible_arch(Limits(space, [Bound("params", low, high)], {"params": measure}), space.pool_options)
        assert f"reaches from {shown('params', min(values))} to {shown('params', max(values))}" in str(refused.value)


def test_bounds_of_the_competitions_space_are_decided_at_once():
    track1 = SPACES["track1"]
    measures = cost_measures(track1) | {"latency": cost_measures(track1, resolution=160)["macs"]}
    bounds = [Bound("macs", 2.9e9, 2.91e9), Bound("params", 14e6, 14.1e6), Bound("latency", high=1.6e9)]
    limits = Limits(track1, bounds, measures)
    assert limits.fits(feasible_arch(limits, track1.pool_options))


def test_an_arch_fits_where_all_its_measures_do(tiny):
    space, measures, costs = tiny
    limits = Limits(space, [Bound("macs", high=60_000), Bound("params", low=2_000)], measures)
    for arch, cost in costs.items():
        assert limits.fits(arch) == (cost["macs"] <= 60_000 and cost["params"] >= 2_000)
        assert limits.costs(arch) == cost
