"""Ranges from the costs per block, against all archs one by one."""

import random

import pytest

from fewshot_nas.searching.decisions import Decisions
from fewshot_nas.space.measure import Measure, cost_measures
from fewshot_nas.space.sampling import random_arch
from fewshot_nas.space.search_space import SPACES


def test_ranges_are_the_extremes_of_all_archs(tiny):
    space, measures, costs = tiny
    decisions = Decisions(space, space.pool_digits)
    for name, measure in measures.items():
        values = [cost[name] for cost in costs.values()]
        assert decisions.range_of(measure) == (min(values), max(values))


def test_ranges_hold_for_costs_that_do_not_grow_with_width(tiny):
    """Latencies need not: a wide block may be faster."""
    space, _, costs = tiny

    def odd(*key):
        return random.Random(str(key)).random()

    measure = Measure(lambda width: odd("stem", width), lambda block: odd(*block), lambda width: odd("head", width))
    values = [measure.of(space, arch) for arch in costs]
    assert Decisions(space, space.pool_digits).range_of(measure) == pytest.approx((min(values), max(values)), rel=1e-12)


@pytest.mark.parametrize("name", ["track1", "px8", "resnet50"])
def test_decisions_cost_what_their_arch_costs(name):
    space, rng = SPACES[name], random.Random(0)
    decisions = Decisions(space, space.all_digits)
    measures = cost_measures(space)
    for _ in range(5):
        arch = random_arch(space, rng)
        taken = _taken(decisions, arch)
        again = decisions.arch(taken)
        assert middles(space, again) == middles(space, arch)
        for measure in measures.values():
            costs = (decisions.cost(measure, each) * count for each, count in zip(decisions.all, taken, strict=True))
            assert sum(costs) == measure.of(space, arch) == measure.of(space, again)


def middles(space, arch):
    """The middle widths of each stage, the first block's first."""
    widths = [[space.mid_width(stage, digit) for digit in mids] for stage, mids in enumerate(arch.mids)]
    return [[first, *sorted(later)] for first, *later in widths]


def _taken(decisions, arch):
    """How often each decision is taken in an arch; of equal widths, the first digit."""
    space, taken = decisions.space, [0] * len(decisions.all)
    wanted = list(space.blocks(arch))
    starts = [sum(arch.depths[:stage]) for stage in range(space.stages)]
    for place, block in enumerate(wanted):
        first = place in starts
        (at,) = (
            number
            for number, each in enumerate(decisions.all)
            if (each.before is not None) == first and decisions.block(each) == block
        )
        taken[at] += 1
    return taken


def test_digits_of_one_width_are_one_decision():
    track1 = SPACES["track1"]
    assert Decisions(track1, track1.pool_digits).outs[0] == [1, 3]
    assert len(Decisions(track1, track1.pool_digits).all) < len(Decisions(SPACES["px8"], track1.pool_digits).all)
