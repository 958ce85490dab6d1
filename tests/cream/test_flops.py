import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.utils.flop_counter import FlopCounterMode

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.flops import PRIOR, UNIFORM, Budget, budget_for, path_flops
from fewshot_nas.cream.model import MODELS, CreamSpace, model_of
from fewshot_nas.models.subnet import Subnet

GOLDEN = model_of("[[0],[2,0,3,2],[2,3,1,2],[2,5,3,3],[3,3,1,5],[4,0,5,3],[0]]", 224)
ONES = (1, 1, 1, 1, 1)


def counted_macs(network, images):
    """Multiply-adds of what a network really runs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        network.eval()(images)
    return counted.get_total_flops() // 2


@pytest.mark.golden
def test_flops_of_the_golden_path():
    assert path_flops(*GOLDEN) / 1e6 == pytest.approx(421.331, abs=5e-4)


@pytest.mark.golden
def test_flops_of_the_part_that_never_changes():
    cells = Budget(GOLDEN.space, 0, 600, legacy=True).flops(GOLDEN.arch)
    assert (path_flops(*GOLDEN) - cells) / 1e6 == pytest.approx(14.909, abs=5e-4)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("bounds", "depths", "resolution"),
    [
        ((0, 600), (4, 4, 4, 4, 4), 224),
        ((0, 287), (1, 1, 3, 3, 3), 224),
        ((200, 300), (1, 2, 3, 3, 3), 224),
        ((0, 114), ONES, 224),
        ((0, 43), ONES, 160),
        ((0, 14), ONES, 96),
    ],
)
def test_the_legacy_rule_as_published(bounds, depths, resolution):
    budget = budget_for(*bounds, legacy=True)
    assert (budget.space.lengths, budget.space.resolution) == (depths, resolution)


@pytest.mark.golden
@pytest.mark.parametrize("legacy", [True, False])
def test_more_than_the_space_has_is_refused(legacy):
    with pytest.raises(InputError, match=r"depths \(4, 4, 4, 4, 4\) have"):
        budget_for(600, 1000, legacy=legacy)


@pytest.mark.golden
@pytest.mark.parametrize("model", MODELS)
def test_published_models_cost_what_their_names_say(model):
    classifier = 1.281  # the names count it, the table does not
    assert path_flops(*MODELS[model]) / 1e6 + classifier == pytest.approx(model, abs=0.7)


@pytest.mark.parametrize("resolution", [224, 96, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_macs_and_parameters_are_those_of_the_child(resolution, channels):
    model = model_of("[[0],[0,5],[1],[2,3],[4],[5,0,2],[0]]", resolution)
    network = Subnet(model.on(channels), model.arch, 7)
    cost = model.on(channels).cost(model.arch, num_classes=7)
    assert cost.macs == counted_macs(network, torch.zeros(1, channels, resolution, resolution))
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


def test_small_bounds_shrink_the_images_until_a_whole_network_fits():
    budget = budget_for(0, 14)
    assert (budget.space.resolution, budget.space.lengths, budget.maximum) == (64, (1, 1, 2, 1, 1), 14)


def test_the_legacy_rule_raises_the_bounds_instead():
    assert budget_for(7, 43, legacy=True).maximum == pytest.approx(43 * 7 / 6 * 7 / 5)
    assert budget_for(7, 43, legacy=True).minimum == pytest.approx(7 * 7 / 6 * 7 / 5)


def test_stages_grow_past_the_maximum_only_to_reach_the_minimum():
    assert budget_for(0, 300).space.lengths == (1, 1, 3, 3, 3)
    assert budget_for(290, 300).space.lengths == (1, 2, 3, 3, 3)


def test_a_search_may_start_from_small_images():
    assert budget_for(0, 20, resolution=32) == Budget(CreamSpace().of((4, 4, 4, 4, 4), 32), 0, 20)


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 600), st.floats(0, 300), st.integers(0, 1000))
def test_sampled_paths_lie_within_the_bounds(minimum, width, seed):
    try:
        budget = budget_for(minimum, minimum + width)
        path = budget.sample(random.Random(seed))
    except InputError:
        return  # the bounds suit nothing, and somebody was told so
    assert minimum <= path_flops(budget.space, path) / 1e6 <= minimum + width


@pytest.mark.parametrize("model", MODELS)
def test_the_published_sizes_can_be_searched_for(model):
    budget = budget_for(0, model)
    assert budget.minimum <= budget.mflops(budget.sample(random.Random(0))) <= budget.maximum


@pytest.mark.parametrize("probabilities", [PRIOR, UNIFORM])
def test_choices_are_drawn_by_their_probabilities(probabilities):
    budget, rng = budget_for(0, 600), random.Random(0)
    paths = (budget.sample(rng, probabilities) for _ in range(1000))
    drawn = Counter(choice for path in paths for choice in path)
    expected = [20_000 * probability for probability in probabilities]
    assert chisquare([drawn[choice] for choice in range(6)], expected).pvalue > 0.01


def test_the_generator_alone_decides():
    budget = budget_for(0, 600)
    assert budget.sample(random.Random(7)) == budget.sample(random.Random(7))


def test_within_the_bounds_the_prior_holds():
    budget, rng = Budget(CreamSpace().of(ONES, 224), 100, 115), random.Random(0)
    likely = {}
    for code in range(6**5):
        path = tuple(code // 6**stage % 6 for stage in range(5))
        if budget.minimum <= budget.mflops(path) <= budget.maximum:
            likely[path] = math.prod(PRIOR[choice] for choice in path)
    assert 10 < len(likely) < 6**5
    draws = 2000
    drawn = Counter(budget.sample(rng) for _ in range(draws))
    common = sorted(likely, key=likely.get)[-20:]
    expected = [draws * likely[path] / sum(likely.values()) for path in common]
    observed = [drawn[path] for path in common]
    rest = draws - sum(expected)
    assert chisquare([*observed, draws - sum(observed)], [*expected, rest]).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"minimum": 5, "maximum": 4}, "expected 0 <= FLOPS_MINIMUM <= FLOPS_MAXIMUM"),
        ({"minimum": -1, "maximum": 4}, "expected 0 <= FLOPS_MINIMUM"),
        ({"minimum": float("nan"), "maximum": 4}, "expected 0 <= FLOPS_MINIMUM"),
        ({"minimum": 0, "maximum": 5}, "too small for any network: at 64 px the cheapest one costs 7.0 M"),
        ({"minimum": 0, "maximum": 5, "resolution": 96, "legacy": True}, "starts from 224 px, got 96"),
    ],
)
def test_bounds_that_cannot_be_are_refused(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        budget_for(**arguments)


def test_bounds_between_two_paths_are_refused_by_name():
    with pytest.raises(InputError, match="widen FLOPS_MINIMUM and FLOPS_MAXIMUM"):
        Budget(CreamSpace().of(ONES, 224), 100, 100.000001).sample(random.Random(0))
