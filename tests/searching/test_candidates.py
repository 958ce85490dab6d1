"""Random archs within bounds, and archs as decisions."""

import random

import pytest

from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.searching.proposals import Candidates
from fewshot_nas.space.cost import Bound, Limits, cost_measures
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch

PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)


def candidates(*bounds):
    limits = Limits(PX8, bounds, COSTS)
    return Candidates(limits, PX8.pool_options, feasible_arch(limits, PX8.pool_options))


def test_genes_make_the_arch_that_they_came_from():
    some, rng = candidates(), random.Random(0)
    for _ in range(20):
        arch = random_arch(PX8, rng, PX8.pool_options)
        genes = some.genes(arch, rng)
        assert PX8.canonical(genes) == arch
        assert all(gene in options for gene, options in zip(genes, PX8.pool_options, strict=True))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.6])
def test_draws_meet_bounds_however_tight(share):
    low, high = COSTS["macs"].of(PX8, PX8.extreme(PX8.pool_options, largest=False)), 5_485_696
    some = candidates(Bound("macs", high=low + share * (high - low)))
    drawn = [some.draw(0, number) for number in range(20)]
    assert all(map(some.limits.fits, drawn))
    assert all(map(PX8.in_pool, drawn))
    assert len(set(drawn)) >= {0.001: 1, 0.05: 8, 0.6: 20}[share]


def test_a_draw_is_a_function_of_seed_and_number():
    some = candidates(Bound("macs", high=1e6))
    assert some.draw(3, 7) == some.draw(3, 7)
    assert some.draw(3, 7) != some.draw(3, 8)
    assert some.draw(3, 7) != some.draw(4, 7)
