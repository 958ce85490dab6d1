"""Who proposes, and whether the evolution learns."""

import statistics

import numpy as np

from fewshot_nas.evaluation.prefix_tree import make_plan
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.searching.proposals import Candidates, Chance, Evolution, best_first
from fewshot_nas.space.cost import Bound, Limits, cost_measures
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)
LIMITS = Limits(PX8, [Bound("macs", high=2_000_000)], COSTS)
CANDIDATES = Candidates(LIMITS, PX8.pool_options, feasible_arch(LIMITS, PX8.pool_options))


def quality(arch):
    """Something to be good at that the bound does not forbid: deep last stages, even digits."""
    return sum(arch[2:4]) + sum(digit % 2 == 0 for digit in arch[8:] if digit) / 4


def generations(proposer, count, value=lambda arch: [quality(arch)]):
    found = []
    for _ in range(count):
        asked = proposer.ask()
        proposer.tell({arch: value(arch) for arch in asked})
        found.append(asked)
    return found


def test_all_that_is_proposed_is_within_the_bounds():
    for proposer in (Chance(CANDIDATES, 0, 20), Evolution(CANDIDATES, 0, 20)):
        found = generations(proposer, 5)
        assert all(LIMITS.fits(arch) for asked in found for arch in asked)
        assert len(found[0]) == 20


def test_the_same_seed_and_values_make_the_same_proposals():
    one, two = (generations(Evolution(CANDIDATES, 5, 10), 6) for _ in range(2))
    assert one == two
    assert generations(Evolution(CANDIDATES, 6, 10), 6) != one


def test_the_evolution_learns_and_chance_does_not():
    means = {}
    for kind, proposer in {"chance": Chance(CANDIDATES, 0, 20), "evolution": Evolution(CANDIDATES, 0, 20)}.items():
        found = generations(proposer, 12)
        means[kind] = [statistics.fmean(map(quality, asked)) for asked in (found[0], found[-1])]
    assert means["evolution"][0] == means["chance"][0]  # both begin with the same archs
    assert means["evolution"][1] > means["evolution"][0] + 3
    assert abs(means["chance"][1] - means["chance"][0]) < 1.5


def test_several_objectives_keep_cheap_archs_alive():
    def both(arch):
        return [quality(arch), -COSTS["macs"].of(PX8, arch)]

    single = generations(Evolution(CANDIDATES, 0, 20), 12)[-1]
    double = generations(Evolution(CANDIDATES, 0, 20), 12, both)[-1]
    cheapest = [min(COSTS["macs"].of(PX8, arch) for arch in asked) for asked in (single, double)]
    assert cheapest[1] < cheapest[0]


def test_a_generation_shares_more_than_random_archs_do():
    def share(archs):
        plan = make_plan(by_width(PX8, 1), archs, unit_networks=128, num_classes=10)
        return plan.macs / plan.plain_macs

    evolved = generations(Evolution(CANDIDATES, 0, 30), 8)[2:]
    drawn = generations(Chance(CANDIDATES, 0, 30), 8)[2:]
    assert statistics.fmean(map(share, evolved)) < statistics.fmean(map(share, drawn)) - 0.05


def test_nothing_is_proposed_twice_however_narrow_the_bounds():
    """Half a thousandth of the multiply-adds, and less than a hundredth of the parameters."""
    limits = Limits(PX8, [Bound("macs", 2_000_000, 2_001_000), Bound("params", 150_000, 151_000)], COSTS)
    candidates = Candidates(limits, PX8.pool_options, feasible_arch(limits, PX8.pool_options))
    for proposer in (Chance(candidates, 0, 15), Evolution(candidates, 0, 15)):
        found = [arch for asked in generations(proposer, 4) for arch in asked]
        assert len(found) == len(set(found)) == 60
        assert all(map(limits.fits, found))
        assert len({arch[:4] for arch in found}) > 10


def test_few_archs_within_the_bounds_are_all_found_and_then_none(tiny):
    space, measures, costs = tiny
    cheap = sorted(cost["macs"] for cost in costs.values())[20]
    limits = Limits(space, [Bound("macs", high=cheap)], measures)
    candidates = Candidates(limits, space.pool_options, feasible_arch(limits, space.pool_options))
    for proposer in (Chance(candidates, 0, 8), Evolution(candidates, 0, 8)):
        found = [arch for asked in generations(proposer, 8, lambda arch: [0.0]) for arch in asked]
        assert set(found) == {arch for arch, cost in costs.items() if cost["macs"] <= cheap}
        assert proposer.ask() == []


def test_the_best_are_those_that_few_dominate_and_among_them_the_sparse():
    assert best_first(np.array([[1.0], [3.0], [2.0], [3.0]])) == [1, 3, 2, 0]
    values = np.array([[0.0, 4.0], [4.0, 0.0], [1.0, 3.9], [2.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    assert best_first(values) == [0, 1, 3, 2, 4, 5]
    assert best_first(np.zeros((3, 2))) == [0, 2, 1]
