"""Parameter groups, learning-rate factors and the schedule."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.training.loop import cosine, set_rate
from fewshot_nas.training.supernet_task import multipliers, parameter_groups
from fewshot_nas.training.task import plain_groups, sgd

TRACK1 = SPACES["track1"]
ALL, POOL = TRACK1.all_options, TRACK1.pool_options  # as those of the tiny space


@pytest.mark.parametrize("groups", range(1, 8))
@pytest.mark.parametrize("kind", ["rule", "table", "none"])
def test_every_parameter_is_in_one_group(supernet, tiny, groups, kind):
    network = supernet(groups)
    grouped = parameter_groups(network, multipliers(by_width(tiny, groups), POOL, kind), weight_decay=0.1)
    found = [id(parameter) for group in grouped for parameter in group["params"]]
    assert sorted(found) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize("groups", [2, 7])
def test_a_factor_holds_for_all_tensors_of_a_group_at_a_place(supernet, tiny, groups):
    network = supernet(groups)
    factors = [
        [10 * place + group + 1.0 for group in range(rule.size)] for place, rule in enumerate(network.split.rules)
    ]
    factor_of = {
        id(parameter): group["factor"]
        for group in parameter_groups(network, factors, 0.1)
        for parameter in group["params"]
    }
    for place, group in (*network.split.homes, *network.split.heads):
        found = {factor_of[id(parameter)] for parameter in network.stored((place, group)).parameters()}
        assert found == {factors[place][group]}


@pytest.mark.parametrize("grouping", ["supernet", "plain"])
def test_norms_and_biases_do_not_decay(supernet, tiny, grouping):
    network = supernet(2)
    grouped = parameter_groups(network, multipliers(by_width(tiny, 2), ALL, "rule"), 0.1)
    for group in grouped if grouping == "supernet" else plain_groups(network, 0.1):
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)


@pytest.mark.parametrize("options", [ALL, POOL])
@pytest.mark.parametrize("groups", range(1, 8))
def test_the_rule_moves_all_sampled_groups_equally_far(groups, options):
    split = by_width(TRACK1, groups)
    for rule, factors in zip(split.rules, multipliers(split, options, "rule"), strict=True):
        drawn = [rule.groups[key] for key in product(*(options[slot] for slot in rule.reads))]
        distances = [drawn.count(group) / len(drawn) * factors[group] for group in set(drawn)]
        assert sum(distances) == pytest.approx(1)  # the mean factor of a draw
        assert distances == pytest.approx([distances[0]] * len(distances))
        assert all(factors[group] == 1 for group in range(len(factors)) if group not in drawn)


def test_the_rule_comes_near_the_published_table():
    """Stage 4, two groups: six digits of seven draw the smaller one; the table has 6, the rule 6 to 1."""
    rule, table = (multipliers(by_width(TRACK1, 2), ALL, kind) for kind in ("rule", "table"))
    for place in (-1, -2):  # the head, and the last block
        assert rule[place][1] / rule[place][0] == pytest.approx(6)
        assert table[place] == [1, 6]


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (2, [[1, 2], [1, 5], [1, 6], [1, 6]]),
        (3, [[1, 1, 1], [1 / 4, 1, 1], [1 / 5, 1, 1], [1 / 5, 1, 1]]),
        (6, [[1] * 3, [1] * 6, [1 / 2] + [1] * 5, [1 / 2] + [1] * 5]),
        (7, [[1] * 3, [1] * 6, [1] * 7, [1] * 7]),
    ],
)
def test_the_table_is_the_published_one(groups, expected):
    factors = multipliers(by_width(TRACK1, groups), ALL, "table")
    stages = [*(place.stage for place in TRACK1.places), 3]  # the head is split like the last stage
    assert factors == [[1] if stage < 0 else expected[stage] for stage in stages]


def test_the_rate_rises_and_falls_as_told():
    rate = cosine(0.4, total=110, warmup=10)
    assert rate(0) == pytest.approx(0.4 * 0.001)
    assert rate(5) == pytest.approx(0.4 * 0.5005)
    assert rate(10) == pytest.approx(0.4)
    assert rate(60) == pytest.approx(0.2)
    assert rate(110) == pytest.approx(0, abs=1e-12)
    assert rate(35) == pytest.approx(0.4 * 0.5 * (1 + math.cos(math.pi / 4)))


@given(total=st.integers(1, 1000), warmup=st.integers(0, 1000))
def test_the_rate_stays_within_its_base(total, warmup):
    rate = cosine(1.0, total, warmup)
    rates = [rate(step) for step in range(total)]
    assert all(0 <= each <= 1 for each in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_a_parameter_may_have_its_first_gradient_late():
    """Equal to torch's plain SGD, in which a parameter without a gradient is passed over."""
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(2)]
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    one = sgd([{"params": ours, "factor": 2.0, "weight_decay": 0.1}], momentum=0.9)
    other = torch.optim.SGD(theirs, lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.1)
    for late in (None, None, torch.randn(3, 2), None, torch.randn(3, 2)):
        gradients = (torch.randn(3, 2), late)
        for parameters in (ours, theirs):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.clone()
        set_rate(one, 0.1)
        one.step()
        other.step()
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference)


def test_a_supernet_of_the_competition_has_groups_by_stage():
    with torch.device("meta"):
        network = Supernet(by_width(TRACK1, 3), 1000)
    factors = {
        group["factor"] for group in parameter_groups(network, multipliers(by_width(TRACK1, 3), ALL, "table"), 1e-5)
    }
    assert factors == {1.0, 1 / 4, 1 / 5}
