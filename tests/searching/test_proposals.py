"""Who proposes, and whether the evolution learns."""

import statistics

import pytest

from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.prefix_tree import make_plan
from fewshot_nas.searching import proposals
from fewshot_nas.searching.bounds import Bound, Limits
from fewshot_nas.searching.candidates import Candidates
from fewshot_nas.searching.feasible import feasible_arch
from fewshot_nas.searching.proposals import Chance, Evolution
from fewshot_nas.space.measure import cost_measures
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_width

pytest.importorskip("optuna")
PX8 = SPACES["px8"]
COSTS = cost_measures(PX8, num_classes=10)
LIMITS = Limits(PX8, [Bound("macs", high=2_000_000)], COSTS)
CANDIDATES = Candidates(LIMITS, PX8.pool_digits, feasible_arch(LIMITS, PX8.pool_digits))


def quality(arch):
    """Something to be good at that the bound does not forbid: deep last stages, even digits."""
    return sum(arch.depths[2:]) + sum(digit % 2 == 0 for mids in arch.mids for digit in mids) / 4


def generations(proposer, count, value=lambda arch: [quality(arch)]):
    found = []
    for _ in range(count):
        asked = proposer.ask()
        proposer.tell({arch: value(arch) for arch in asked})
        found.append(asked)
    return found


def test_all_that_is_proposed_is_within_the_bounds():
    for proposer in (Chance(CANDIDATES, 0, 20), Evolution(CANDIDATES, 0, 20, 1)):
        found = generations(proposer, 5)
        assert all(LIMITS.fits(arch) for asked in found for arch in asked)
        assert len(found[0]) == 20


def test_the_same_seed_and_values_make_the_same_proposals():
    one, two = (generations(Evolution(CANDIDATES, 5, 10, 1), 6) for _ in range(2))
    assert one == two
    assert generations(Evolution(CANDIDATES, 6, 10, 1), 6) != one


def test_the_evolution_learns_and_chance_does_not():
    means = {}
    for kind, proposer in {"chance": Chance(CANDIDATES, 0, 20), "evolution": Evolution(CANDIDATES, 0, 20, 1)}.items():
        found = generations(proposer, 12)
        means[kind] = [statistics.fmean(map(quality, asked)) for asked in (found[0], found[-1])]
    assert means["evolution"][0] == means["chance"][0]  # both begin with the same archs
    assert means["evolution"][1] > means["evolution"][0] + 3
    assert abs(means["chance"][1] - means["chance"][0]) < 1.5


def test_several_objectives_keep_cheap_archs_alive():
    def both(arch):
        return [quality(arch), -COSTS["macs"].of(PX8, arch)]

    single = generations(Evolution(CANDIDATES, 0, 20, 1), 12)[-1]
    double = generations(Evolution(CANDIDATES, 0, 20, 2), 12, both)[-1]
    cheapest = [min(COSTS["macs"].of(PX8, arch) for arch in asked) for asked in (single, double)]
    assert cheapest[1] < cheapest[0]


def test_a_generation_shares_more_than_random_archs_do():
    def share(archs):
        plan = make_plan(by_width(PX8, 1), archs, unit_networks=128, num_classes=10)
        return plan.macs / plan.plain_macs

    evolved = generations(Evolution(CANDIDATES, 0, 30, 1), 8)[2:]
    drawn = generations(Chance(CANDIDATES, 0, 30), 8)[2:]
    assert statistics.fmean(map(share, evolved)) < statistics.fmean(map(share, drawn)) - 0.05


def test_an_old_optuna_is_refused(monkeypatch):
    monkeypatch.setattr("optuna.__version__", "4.5.0")
    with pytest.raises(InputError, match="expected at least 5"):
        proposals.optuna_or_refuse()
