"""Costs as sums over parts."""

import random

from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.measure import cost_measures
from fewshot_nas.space.sampling import random_arch
from fewshot_nas.space.search_space import SPACES


def test_measures_add_up_to_the_costs_of_the_whole_network():
    for name in ("track1", "px8", "cifar", "resnet50"):
        space, rng = SPACES[name], random.Random(name)
        measures = cost_measures(space, resolution=40, num_classes=7)
        for _ in range(10):
            arch = random_arch(space, rng)
            cost = total_cost(space, arch, resolution=40, num_classes=7)
            assert {key: measure.of(space, arch) for key, measure in measures.items()} == cost._asdict()
