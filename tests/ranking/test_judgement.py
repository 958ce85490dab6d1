"""Judging predictions by truths, on made-up tables whose answers are known."""

import dataclasses
import random

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.baselines import (
    SIZES,
    by_cost,
    everything,
    fitted,
    oracle,
    plain_tau,
    regret,
    resamples,
    taus,
    worth,
)
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.judgement import judge
from fewshot_nas.ranking.truth import Truth, of_space
from fewshot_nas.space.presets import SPACES

RNG = np.random.default_rng(0)


def made_up(n=500, noise=0.3):
    """Networks of three columns, of which the first is the cost: the truth is their sum, with three seeds' noise."""
    columns = np.random.default_rng(1).normal(size=(n, 3))
    true = 90 + columns.sum(1)
    runs = true[:, None] + noise * np.random.default_rng(2).normal(size=(n, 3))
    counts = {"macs": np.exp(columns[:, 0]), "params": np.exp(columns[:, 0] - columns[:, 1])}
    return Truth("made up", [f"{number:04}" for number in range(n)], runs, counts, columns, 1000), true


@pytest.fixture(scope="module")
def judged():
    truth, true = made_up()
    poor = truth.described[:, 1] + RNG.normal(size=len(true))
    return truth, true, judge({"true": true, "poor": poor, "reverse": -true}, truth)


def test_a_ranking_without_noise_reaches_what_noise_allows(judged):
    truth, true, found = judged
    exact = found.predicted["true"]
    assert exact.whole.tau.value == pytest.approx(correlations(true, truth.accuracy)[0])
    assert exact.whole.share == pytest.approx(1, abs=0.01)
    assert exact.equal_cost.share == pytest.approx(1, abs=0.02)
    assert found.seed[0] < found.ceiling[0]
    assert found.oracle.first.mean() == pytest.approx(exact.regret.first.mean(), abs=0.05)


def test_counting_orders_all_networks_and_not_those_of_equal_cost(judged):
    _, _, found = judged
    assert found.best[0] == "macs"
    macs = found.counts["macs"]
    assert macs.whole.tau.value > 0.35 > 0.15 > macs.equal_cost.tau.value
    assert macs.whole.gain.value == 0
    poor = found.predicted["poor"]
    assert poor.equal_cost.tau.low > 0.2
    assert poor.whole.gain.high < 0 < poor.equal_cost.gain.low
    assert found.predicted["reverse"].whole.tau.value == pytest.approx(-found.predicted["true"].whole.tau.value)


def test_the_worth_of_a_ridge_is_its_number_of_truths():
    truth, _ = made_up(noise=1.5)
    taken = np.arange(40)
    values = fitted(truth.described[taken], truth.accuracy[taken], truth.described)
    order = judge({"ridge": np.where(np.arange(500) < 40, np.nan, values)}, truth).predicted["ridge"]
    assert order.whole.worth[1] <= 40 <= order.whole.worth[2]
    assert order.whole.worth[1] <= order.whole.worth[0] <= order.whole.worth[2]


def test_a_worth_beyond_what_was_tried_is_less_or_more():
    reached = {10: 0.4, 30: 0.38, 100: 0.7, 300: np.nan}
    assert worth(0.39, reached) == 0
    assert worth(0.71, reached) == np.inf
    assert np.isnan(worth(np.nan, reached))
    assert np.isnan(worth(0.5, {10: np.nan}))
    assert worth(0.4, reached) < 31 < worth(0.5, reached) < 100


def test_the_order_of_the_truth_and_the_scale_of_predictions_do_not_count(judged):
    truth, true, found = judged
    order = np.random.default_rng(3).permutation(len(true))
    counts = {name: each[order] for name, each in truth.counts.items()}
    other = dataclasses.replace(truth, keys=[truth.keys[at] for at in order], runs=truth.runs[order], counts=counts)
    again = judge({"true": np.exp(true[order] / 10)}, other).predicted["true"]
    assert again.whole.tau.value == pytest.approx(found.predicted["true"].whole.tau.value)
    assert again.equal_cost.tau.value == pytest.approx(found.predicted["true"].equal_cost.tau.value)
    assert again.regret.first == pytest.approx(found.predicted["true"].regret.first)


def test_networks_of_equal_cost_are_in_one_class_and_few_networks_have_fewer():
    assert [len(group) for group in by_cost(np.arange(400.0))] == [40] * 10
    assert [len(group) for group in by_cost(np.arange(30.0))] == [10] * 3
    assert by_cost(np.arange(19.0)) == ()
    assert by_cost(np.ones(400)) == ()
    macs = np.repeat([1.0, 2.0, 3.0], [100, 150, 50])
    assert sorted(tuple(np.unique(macs[group])) for group in by_cost(macs)) == [(1.0,), (2.0,), (3.0,)]


def test_a_class_without_a_tau_is_left_out():
    x, y = RNG.normal(size=(2, 60))
    groups = by_cost(np.arange(60.0))
    x[groups[0]] = 1  # constant
    rows = taus(x, y, groups, resamples(60))
    assert rows[0] == pytest.approx(np.mean([correlations(x[each], y[each])[0] for each in groups[1:]]))
    assert plain_tau(x, y, groups) == pytest.approx(rows[0])
    assert np.isnan(taus(np.ones(60), y, groups, resamples(60))).all()


def test_the_interval_at_equal_cost_covers_the_spread_of_other_samples():
    """Its width is what other networks of the same kind would scatter by."""
    found, value = [], None
    for seed in range(60):
        x, y = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=600).T
        groups = by_cost(np.random.default_rng([seed, 1]).normal(size=600))
        found.append(plain_tau(x, y, groups))
        value = taus(x, y, groups, resamples(600)) if value is None else value
    assert np.std(value[1:]) == pytest.approx(np.std(found), rel=0.4)


def test_the_regret_is_the_best_less_what_was_found():
    truth = np.array([90, 93, 92, 91, *range(70, 90)], dtype=float)
    groups = [np.arange(4), np.arange(4, 24)]
    found = regret(np.array([4, 3, 2, 1, *range(20, 0, -1)], dtype=float), truth, groups)
    assert found.first.tolist() == [3, 19]
    assert found.ten.tolist() == [0, 10]


def test_one_seed_has_no_ceiling():
    found = oracle(RNG.normal(size=(50, 1)), everything(50))
    assert np.isnan([found.whole, found.equal_cost, *found.regret.first]).all()


def test_noise_alone_allows_nothing():
    found = oracle(RNG.normal(size=(900, 3)), everything(900))
    assert found.whole < 0.25


def test_the_same_network_counts_once():
    space = SPACES["macro"]
    codes = ["01002120", "01001220", "01020102", "11222111", "12000100", "00000000"]
    runs = {code: [80.0 + at, 81.0 + at] for at, code in enumerate(codes)}
    runs["01020102"] = runs["01002120"]  # an identity has changed its place
    truth = of_space("macro", space, runs)
    assert len(truth.keys) == 5
    assert truth.network("01002120") == truth.network("01020102") != truth.network("01001220")
    assert set(truth.counts) == {"macs", "params", "depth"}
    assert all(
        truth.counts["macs"][at] == space.cost(space.decode(key), num_classes=10).macs
        for at, key in enumerate(truth.keys)
    )


def test_all_archs_of_the_macro_space_are_3969_networks():
    space = SPACES["macro"]
    codes = [np.base_repr(number, 3).zfill(8) for number in range(3**8)]
    assert len(of_space("macro", space, {code: [90.0] for code in codes}).keys) == 3969


def test_the_ranker_without_scores_sees_each_width_of_each_space():
    for name in ("channel_resnet", "channel_mobilenet", "px8", "cifar"):
        space, rng = SPACES[name], random.Random(0)
        codes = {space.encode(space.canonical([rng.choice(slot.options) for slot in space.slots])) for _ in range(300)}
        truth = of_space(name, space, {code: [90.0] for code in codes})
        columns = standardised(truth.described)
        choices = np.array([space.decode(key) for key in truth.keys])
        varying = [column for column in choices.T if column.min() < column.max()]
        for column in varying:
            left = column - columns @ np.linalg.lstsq(columns, column - column.mean(), rcond=None)[0] - column.mean()
            assert np.var(left) < 0.2 * np.var(column), name


def test_parts_of_a_truth_have_to_fit_together():
    truth, _ = made_up(20)
    for changes, said in (
        ({"keys": truth.keys[:5]}, "5 keys"),
        ({"counts": {"params": np.ones(20)}}, "expected as many of each, and macs"),
        ({"runs": np.where(np.arange(60).reshape(20, 3) == 7, np.nan, truth.runs)}, "an accuracy is not a finite"),
    ):
        with pytest.raises(InputError, match=said):
            dataclasses.replace(truth, **changes)


def test_too_few_predictions_are_refused():
    truth, true = made_up(30)
    with pytest.raises(InputError, match="2 networks of made up have a prediction, expected at least 3"):
        judge({"few": np.where(np.arange(30) < 2, true, np.nan)}, truth)


def test_sizes_are_those_of_the_page():
    assert (SIZES[0], SIZES[-1]) == (5, 1000)
