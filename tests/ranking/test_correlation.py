"""Correlations against their definition and scipy; the resamples against explicit lists."""

import os
from itertools import combinations
from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking import correlation
from fewshot_nas.ranking.correlation import (
    Interval,
    concordance,
    correlate,
    correlation_table,
    correlations,
    correlations_of_draws,
    influences,
    proxies,
)
from fewshot_nas.space.pool import make_pool, read_arch_file
from fewshot_nas.space.presets import SPACES

STATISTICS = ("kendall", "spearman", "pearson")

brief = settings(deadline=None, max_examples=50)


def named(values):
    return {f"arch{number}": value for number, value in enumerate(values, start=1)}


@st.composite
def columns(draw, smallest=3, largest=12):
    """Scores and truths of the same archs, with many ties, neither constant."""
    n = draw(st.integers(smallest, largest))
    values = st.lists(st.integers(0, 8).map(lambda tenths: tenths / 10), min_size=n, max_size=n)
    x, y = draw(values), draw(values)
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    return np.array(x), np.array(y)


def rankings(smallest=6, largest=30):
    """Scores without ties."""
    return st.integers(smallest, largest).flatmap(lambda n: st.permutations(range(n)))


def tau_b_by_definition(x, y):
    pairs = list(combinations(zip(x, y, strict=True), 2))
    products = [np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs]
    untied_x, untied_y = (sum(a[side] != b[side] for a, b in pairs) for side in (0, 1))
    return sum(products) / sqrt(untied_x * untied_y)


@brief
@given(columns())
def test_tau_is_tau_b_by_definition(data):
    assert correlate(*map(named, data), resamples=0).kendall.value == pytest.approx(tau_b_by_definition(*data))


@brief
@given(columns())
def test_values_are_scipys(data):
    result = correlate(*map(named, data), resamples=0)
    assert result.kendall.value == pytest.approx(stats.kendalltau(*data).statistic)
    assert result.spearman.value == pytest.approx(stats.spearmanr(*data).statistic)
    assert result.pearson.value == pytest.approx(stats.pearsonr(*data).statistic)


@brief
@given(columns(), st.integers(0, 2**32))
def test_correlations_by_products_are_those_of_the_resampled_lists(data, seed):
    x, y = data
    draws = np.random.default_rng(seed).integers(len(x), size=(20, len(x)))
    expected = [correlations(x[draw], y[draw]) for draw in draws if np.ptp(x[draw]) > 0 and np.ptp(y[draw]) > 0]
    np.testing.assert_allclose(correlations_of_draws(x, y, draws), np.reshape(expected, (-1, 3)), atol=1e-12)


@pytest.mark.parametrize("tenths", [False, True])
def test_many_archs_have_the_same_correlations_and_intervals_without_all_pairs(monkeypatch, tenths):
    x, noise = np.random.default_rng(0).normal(size=(2, 400))
    x = np.round(x) if tenths else x  # ties
    plain = correlate(named(x), named(x + noise))
    monkeypatch.setattr(correlation, "PAIRWISE_LIMIT", 399)
    monkeypatch.setattr(correlation, "LARGE_RESAMPLES", 1000)
    many = correlate(named(x), named(x + noise))
    for name in STATISTICS:
        exact, linear = getattr(plain, name), getattr(many, name)
        assert linear.value == pytest.approx(exact.value, abs=1e-12)
        assert (linear.low, linear.high) == pytest.approx((exact.low, exact.high), abs=0.3 * exact.error)
        assert linear.error == pytest.approx(exact.error, rel=0.05)


def test_beyond_the_limit_fewer_resamples_are_drawn(monkeypatch):
    monkeypatch.setattr(correlation, "PAIRWISE_LIMIT", 9)
    monkeypatch.setattr(correlation, "LARGE_RESAMPLES", 7)
    scores, truth = named(range(10)), named([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    assert correlate(scores, truth, resamples=1000) == correlate(scores, truth, resamples=7)


def test_interval_is_the_percentiles_of_the_resamples():
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    ids = list(named(x))
    order = [ids.index(arch_id) for arch_id in sorted(ids)]
    draws = np.random.default_rng(5).integers(20, size=(400, 20))
    taus = [correlations(x[order][draw], y[order][draw])[0] for draw in draws]
    interval = correlate(named(x), named(y), resamples=400, seed=5).kendall
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(taus, (2.5, 97.5))))
    assert interval.error == pytest.approx(np.std(taus, ddof=1))


# Heavily tied scores of a handful of archs can have a percentile interval beside their value,
# because the resamples without ties to break are left out; hence no ties here.
@brief
@given(rankings())
def test_intervals_contain_the_value(scores):
    result = correlate(named(scores), named(sorted(scores)))
    for interval in (result.kendall, result.spearman, result.pearson):
        assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9


@brief
@given(columns(), st.integers(0, 2**32))
def test_same_seed_same_intervals(data, seed):
    x, y = map(named, data)
    backwards = dict(reversed(x.items()))
    assert repr(correlate(x, y, resamples=20, seed=seed)) == repr(correlate(backwards, y, resamples=20, seed=seed))


def test_another_seed_moves_the_interval_but_not_the_value():
    scores, truth = named(range(10)), named([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    one, other = (correlate(scores, truth, seed=seed).kendall for seed in (0, 1))
    assert one.value == other.value
    assert one.error != other.error


@brief
@given(columns())
def test_monotone_scores_keep_tau_and_spearman(data):
    x, y = data
    plain, curved = (correlate(named(scores), named(y), resamples=20) for scores in (x, np.exp(3 * x) - 7))
    for name in ("kendall", "spearman"):
        assert as_tuple(getattr(curved, name)) == pytest.approx(as_tuple(getattr(plain, name)), nan_ok=True)


@brief
@given(columns())
def test_negated_scores_flip_every_sign(data):
    x, y = data
    plain, negated = (correlate(named(scores), named(y), resamples=20) for scores in (x, -x))
    for name in STATISTICS:
        value, low, high, error = as_tuple(getattr(plain, name))
        assert as_tuple(getattr(negated, name)) == pytest.approx((-value, -high, -low, error), nan_ok=True)


def as_tuple(interval: Interval):
    return interval.value, interval.low, interval.high, interval.error


def test_archs_are_matched_by_id():
    scores = {"arch3": 3.0, "arch1": 1.0, "arch9": 0.0, "arch2": 2.0}
    result = correlate(scores, {"arch1": 10.0, "arch2": 20.0, "arch3": 30.0, "arch4": 0.0})
    assert (result.n, result.kendall.value) == (3, 1.0)


def test_tied_pairs_are_counted_on_each_side():
    result = correlate(named([1, 1, 1, 2, 2]), named([1, 1, 2, 3, 4]))
    assert (result.score_ties, result.truth_ties) == (4, 1)


@pytest.mark.parametrize("swap", [False, True])
def test_constant_side_leaves_correlations_undefined(swap):
    sides = [named([0.1] * 5), named(range(5))]
    result = correlate(*(reversed(sides) if swap else sides))
    assert all(isnan(value) for name in STATISTICS for value in as_tuple(getattr(result, name)))


def test_too_few_archs_in_common_are_refused():
    with pytest.raises(InputError, match=r"scores \(4 archs\) and truth \(2 archs\) have 2 archs in common, expected"):
        correlate(named(range(4)), named(range(2)))


@pytest.mark.parametrize("side", ["score", "truth"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(side, value):
    sides = {"score": named(range(4)), "truth": named(range(4))}
    sides[side]["arch3"] = value
    with pytest.raises(InputError, match=f"arch3: {side} is {value}, expected a finite number"):
        correlate(sides["score"], sides["truth"])


def test_table_aligns_named_rows():
    truth = named([1, 2, 3, 4, 5, 5])
    rows = {"supernet": correlate(named([1, 3, 2, 4, 5, 6]), truth), "constant": correlate(named([0.1] * 6), truth)}
    header, supernet, constant = correlation_table(rows).splitlines()
    tau = rows["supernet"].kendall
    assert header.split() == ["score", "n", "ties", "tau", "[95", "%]", "Spearman", "Pearson"]
    assert f"{tau.value:+.3f} [{tau.low:+.3f}, {tau.high:+.3f}]" in supernet
    assert constant.split() == ["constant", "6", "15/1", "undefined", "undefined", "undefined"]
    assert header.index("tau") == supernet.index("+") == constant.index("undefined")


def test_table_leaves_out_intervals_that_were_not_asked_for():
    row = correlate(named(range(5)), named(range(5)), resamples=0)
    assert "[" not in correlation_table({"depth": row}).splitlines()[1]


# ---- Concordance by sorting against its definition, influences against differences ----------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_concordance_is_the_mean_product_of_signs(pairs):
    x, y = np.array(pairs, dtype=float).T
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    np.testing.assert_allclose(concordance(x, y), signs.mean(1), atol=1e-12)


def test_an_influence_is_what_one_more_copy_of_an_arch_changes():
    x, noise = np.random.default_rng(0).normal(size=(2, 200))
    x = np.round(x, 1)
    y = x + noise
    values, of_archs = influences(x, y)
    for arch in range(5):
        more = np.append(np.arange(200), arch)
        moved = influences(x[more], y[more])[0] - values
        assert 201 * moved == pytest.approx(of_archs[:, arch], abs=0.02)


def test_influences_add_up_to_nothing():
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    np.testing.assert_allclose(influences(x, y)[1].mean(1), 0, atol=1e-12)


# ---- The proxies that a supernet has to beat ------------------------------------------------------------------------

PX8 = SPACES["px8"]


def test_proxies_are_blocks_params_and_macs():
    pool = make_pool(PX8, seed=0, size=3)
    scores = proxies(PX8, pool, resolution=16, num_classes=10)
    for arch_id, arch in pool.items():
        cost = PX8.cost(arch, resolution=16, num_classes=10)
        found = {name: values[arch_id] for name, values in scores.items()}
        assert found == {"depth": PX8.depth(arch), "params": cost.params, "macs": cost.macs}


@pytest.mark.golden
@pytest.mark.skipif("FEWSHOT_NAS_TRACK1" not in os.environ, reason="FEWSHOT_NAS_TRACK1 is not set")
@pytest.mark.parametrize(
    ("proxy", "statistic", "value"),
    [
        ("depth", "kendall", 0.638),
        ("depth", "pearson", 0.831),
        ("params", "kendall", 0.614),
        ("macs", "kendall", 0.591),
    ],
)
def test_published_ground_truth_is_ranked_as_known(proxy, statistic, value):
    truth = read_arch_file(Path(os.environ["FEWSHOT_NAS_TRACK1"]) / "gt_arch30.json", PX8)
    scores = proxies(SPACES["track1"], {arch_id: entry.arch for arch_id, entry in truth.items()})[proxy]
    result = correlate(scores, {arch_id: entry.acc for arch_id, entry in truth.items()})
    assert round(getattr(result, statistic).value, 3) == value
