"""Bounds that can or cannot be met, against all archs one by one."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.errors import InputError
from fewshot_nas.searching.bounds import Bound, Limits
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.measure import cost_measures
from fewshot_nas.space.search_space import SPACES

PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), kinds=st.tuples(*[st.sampled_from(["low", "high", "both", "none"])] * 2))
def test_an_arch_is_found_where_there_is_one_and_only_there(tiny, seed, kinds):
    """Bounds at costs that archs have, to the last multiply-add."""
    space, measures, costs = tiny
    rng, known = random.Random(seed), list(costs.values())
    bounds = []
    for name, kind in zip(("macs", "params"), kinds, strict=True):
        low, high = sorted(known[int(rng.random() * len(known))][name] for _ in range(2))
        sides = {"low": {"low": high}, "high": {"high": low}, "both": {"low": low, "high": high}, "none": {}}
        bounds.append(Bound(name, **sides[kind]))
    limits = Limits(space, bounds, measures)
    if any(map(limits.fits, costs)):
        assert limits.fits(feasible_arch(limits, space.pool_digits))
    else:
        with pytest.raises(InputError, match="no network has"):
            feasible_arch(limits, space.pool_digits)


def test_a_bound_out_of_reach_comes_with_the_range(tiny):
    space, measures, costs = tiny
    least = min(cost["macs"] for cost in costs.values())
    with pytest.raises(InputError, match=rf"no network has macs <= .*: macs reaches from {least / 1000:.6g} k to"):
        feasible_arch(Limits(space, [Bound("macs", high=least - 1)], measures), space.pool_digits)
    assert feasible_arch(Limits(space, [Bound("macs", high=least)], measures), space.pool_digits) in costs


def test_bounds_that_exclude_each_other_come_with_the_range_that_is_left(tiny):
    space, measures, costs = tiny
    bound = sorted(cost["macs"] for cost in costs.values())[len(costs) // 10]
    inside = [cost["params"] for cost in costs.values() if cost["macs"] <= bound]
    bounds = [Bound("macs", high=bound), Bound("params", low=max(inside) + 1)]
    with pytest.raises(InputError) as refused:
        feasible_arch(Limits(space, bounds, measures), space.pool_digits)
    reach = f"params reaches from {min(inside) / 1000:.6g} k to {max(inside) / 1000:.6g} k"
    assert str(refused.value) == f"no network has {bounds[1]}: with {bounds[0]}, {reach}"


def test_a_gap_between_two_bounds_is_told(tiny):
    space, measures, costs = tiny
    values = sorted({cost["macs"] for cost in costs.values()})
    low, high = max(itertools.pairwise(values), key=lambda pair: pair[1] - pair[0])
    with pytest.raises(InputError, match="and no network lies between the two bounds"):
        feasible_arch(Limits(space, [Bound("macs", low + 1, high - 1)], measures), space.pool_digits)


def test_all_digits_reach_further_than_the_pool_s():
    limits = Limits(PX8, [Bound("macs", high=300_000)], COSTS)
    with pytest.raises(InputError, match="macs reaches from"):
        feasible_arch(limits, PX8.pool_digits)
    assert limits.fits(feasible_arch(limits, PX8.all_digits))
