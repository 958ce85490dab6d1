"""Random archs within bounds, and archs as decisions."""

import random

import pytest

from fewshot_nas.searching.bounds import Bound, Limits
from fewshot_nas.searching.candidates import Candidates
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.space.measure import cost_measures
from fewshot_nas.space.sampling import random_arch, smallest
from fewshot_nas.space.search_space import SPACES

PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)


def candidates(*bounds):
    limits = Limits(PX8, bounds, COSTS)
    return Candidates(limits, PX8.pool_digits, feasible_arch(limits, PX8.pool_digits))


def test_decisions_make_the_arch_that_they_came_from():
    some, rng = candidates(), random.Random(0)
    for _ in range(20):
        arch = random_arch(PX8, rng, PX8.pool_digits)
        genes = some.genes(arch, rng)
        assert some.arch(genes) == arch
        assert genes.keys() == some.ranges.keys()
        assert all(least <= genes[name] <= most for name, (least, most) in some.ranges.items())


def test_names_sort_stages_in_the_order_of_the_network():
    names = sorted(candidates().ranges)
    assert [name[0] for name in names] == sorted(name[0] for name in names)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.6])
def test_draws_meet_bounds_however_tight(share):
    low, high = COSTS["macs"].of(PX8, smallest(PX8, PX8.pool_digits)), 5_485_696
    some = candidates(Bound("macs", high=low + share * (high - low)))
    drawn = [some.draw(0, number) for number in range(20)]
    assert all(map(some.limits.fits, drawn))
    assert all(max(arch.outs) <= 7 and arch.outs[0] <= 3 for arch in drawn)
    assert len(set(drawn)) >= {0.001: 1, 0.05: 10, 0.6: 20}[share]


def test_a_draw_is_a_function_of_seed_and_number():
    some = candidates(Bound("macs", high=1e6))
    assert some.draw(3, 7) == some.draw(3, 7)
    assert some.draw(3, 7) != some.draw(3, 8)
    assert some.draw(3, 7) != some.draw(4, 7)
