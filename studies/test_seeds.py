"""How far a ground truth can be trusted, and the difference of rankings."""

import math

import numpy as np
import pytest
from scipy import stats

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.ranking.interval import Interval
from studies.seeds import reliability, tau_gain


def noisy(archs: int, seeds: int, noise: float) -> tuple[np.ndarray, dict[str, list[float]]]:
    """True means of variance 1, and runs around them."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=archs)
    table = true[:, None] + noise * rng.normal(size=(archs, seeds))
    return true, {f"arch{index}": list(row) for index, row in enumerate(table)}


@pytest.mark.parametrize(("seeds", "noise"), [(2, 0.5), (3, 1.0), (6, 2.0)])
def test_share_and_ceiling_are_those_of_the_model_that_made_the_runs(seeds, noise):
    true, runs = noisy(2000, seeds, noise)
    found = reliability(runs)
    assert found.share == pytest.approx(1 / (1 + noise**2 / seeds), abs=0.03)
    perfect = stats.kendalltau(true, [np.mean(row) for row in runs.values()]).statistic
    assert found.ceiling == pytest.approx(perfect, abs=0.03)


def test_taus_between_seeds_and_between_halves():
    _, runs = noisy(20, 4, 0.7)
    table = np.array(list(runs.values()))

    def tau(one, other):
        return stats.kendalltau(table[:, one].mean(1), table[:, other].mean(1)).statistic

    pairs = [([0], [1]), ([0], [2]), ([0], [3]), ([1], [2]), ([1], [3]), ([2], [3])]
    halves = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
    found = reliability(runs)
    assert (found.archs, found.seeds) == (20, 4)
    assert found.seed_tau == pytest.approx(np.mean([tau(*pair) for pair in pairs]))
    assert found.half_tau == pytest.approx(np.mean([tau(*pair) for pair in halves]))


def test_an_odd_number_of_seeds_leaves_each_out_in_turn():
    _, runs = noisy(10, 3, 0.7)
    assert reliability(runs).half_tau == pytest.approx(reliability(runs).seed_tau)


def test_without_noise_the_truth_is_the_truth():
    found = reliability({"a": [1, 1], "b": [2, 2], "c": [4, 4]})
    assert (found.seed_tau, found.share, found.ceiling) == (1, 1, 1)


def test_where_the_seed_is_all_there_is_no_trust():
    found = reliability({"a": [1, 3], "b": [3, 1], "c": [2, 2]})
    assert (found.share, found.ceiling) == (0, 0)


def test_archs_that_are_all_alike_have_no_tau():
    assert math.isnan(reliability({"a": [1, 1], "b": [1, 1], "c": [1, 1]}).seed_tau)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({"a": [1, 2], "b": [1, 2]}, "2 archs, expected at least 3"),
        ({"a": [1], "b": [2], "c": [3]}, "expected at least two"),
        ({"a": [1, 2], "b": [2], "c": [3, 4]}, "b has 1 seeds, but another arch has 2"),
    ],
)
def test_too_few_runs_are_refused(runs, said):
    with pytest.raises(InputError, match=said):
        reliability(runs)


def test_tau_gain_is_the_difference_of_mean_taus_and_narrower_than_either():
    rng = np.random.default_rng(0)
    ids = [f"arch{index}" for index in range(40)]
    true, shared = rng.normal(size=40), 1.5 * rng.normal(size=40)

    def ranking(noise):
        return dict(zip(ids, true + shared + noise * rng.normal(size=40), strict=True))

    truth, ours, theirs = dict(zip(ids, true, strict=True)), [ranking(0.1), ranking(0.1)], [ranking(0.2)]
    found = tau_gain(ours, theirs, truth)
    taus = [correlate(scores, truth).kendall for scores in (*ours, *theirs)]
    assert found.value == pytest.approx((taus[0].value + taus[1].value) / 2 - taus[2].value)
    assert found.low < found.value < found.high
    assert found.error < min(tau.error for tau in taus) / 2


def test_tau_gain_of_a_ranking_over_itself_is_none():
    truth, scores = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 3.0, "c": 2.0}
    assert tau_gain([scores], [scores], truth) == Interval(0, 0, 0, 0)


def test_tau_gain_needs_archs_that_all_know():
    with pytest.raises(InputError, match="2 archs in common"):
        tau_gain([{"a": 1.0, "b": 2.0}], [{"a": 1.0, "b": 2.0, "c": 3.0}], {"a": 1.0, "b": 2.0, "c": 3.0})
