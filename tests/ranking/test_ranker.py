"""From scores, costs and truths to a value for every arch."""

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.features import standardised
from fewshot_nas.ranking.predictor import Estimate
from fewshot_nas.ranking.ranker import (
    KEPT,
    MACS_WEIGHT,
    average,
    combine,
    in_percent,
    log_odds,
    percent,
    percent_error,
    ranker,
    smooth,
    surplus,
)


@pytest.fixture(scope="module")
def some(bed):
    """Only every second arch was scored."""
    return ranker(bed.described, bed.weights, [np.where(np.arange(400) % 2, bed.scores, np.nan)])


def tau(values, truth):
    return correlations(values, truth)[0]


def test_without_truth_combined_scores_beat_raw_ones(bed, some):
    assert tau(some.combined.value, bed.truth) > tau(bed.scores, bed.truth) + 0.1


def test_truths_improve_archs_that_nobody_has_scored_or_trained(bed, some):
    unseen = (np.arange(400) % 2 == 0) & (np.arange(400) >= 60)
    predicted = some.predicted(np.where(np.arange(400) < 60, bed.truth, np.nan))
    assert tau(predicted.value[unseen], bed.truth[unseen]) > tau(some.combined.value[unseen], bed.truth[unseen]) + 0.02


def test_raw_scores_are_kept_where_all_supernets_have_one(bed):
    first, second = (np.where(np.arange(400) % step, bed.scores, np.nan) for step in (2, 3))
    both = ranker(bed.described, bed.weights, [first, second])
    assert np.array_equal(np.isnan(both.raw), np.isnan(first + second))
    assert not np.isnan(both.combined.value).any()


def test_one_supernet_s_raw_scores_are_its_own(bed):
    assert ranker(bed.described, bed.weights, [bed.scores]).raw == pytest.approx(log_odds(bed.scores))


def test_estimates_come_in_percent(bed, some):
    estimate = in_percent(some.combined)
    assert ((estimate.value > 0) & (estimate.value < 100) & (estimate.error > 0)).all()
    half = in_percent(Estimate(np.zeros(1), np.ones(1)))
    assert (half.value[0], half.error[0]) == (50, 25)


# ---- Percentages as log odds ----------------------------------------------------------------------------------------


def test_percentages_survive_the_way_there_and_back():
    values = np.array([0.1, 25.0, 50.0, 99.9])
    assert percent(log_odds(values)) == pytest.approx(values)


def test_the_ends_stay_finite_and_inside():
    assert np.isfinite(log_odds(np.array([0.0, 100.0]))).all()
    assert 0 < percent(np.array([-30.0]))[0] < percent(np.array([30.0]))[0] <= 100


def test_errors_are_the_slope_times_the_error():
    step = 1e-6
    slope = (percent(np.array([1.0 + step])) - percent(np.array([1.0 - step]))) / (2 * step)
    assert percent_error(np.array([1.0]), np.array([0.5])) == pytest.approx(0.5 * slope)


# ---- Scores of some archs, carried over to all ----------------------------------------------------------------------


def plane(rng, archs):
    columns = rng.normal(size=(archs, 3))
    return columns, 1 + columns[:, 0] - 2 * columns[:, 1]


def test_a_plane_is_found_where_nothing_was_scored():
    columns, values = plane(np.random.default_rng(0), 200)
    scored = values.copy()
    scored[60:] = np.nan
    assert smooth(columns, scored).value == pytest.approx(values, abs=1e-3)


def test_the_error_is_that_of_scores_not_seen():
    rng = np.random.default_rng(1)
    columns, values = plane(rng, 2000)
    noisy = values + 0.5 * rng.normal(size=2000)
    estimate = smooth(columns, np.where(np.arange(2000) < 300, noisy, np.nan))
    within = np.abs(noisy - estimate.value)[300:] < estimate.error[300:]
    assert 0.6 < within.mean() < 0.76


def test_smoothed_scores_rank_better_than_raw_ones(bed):
    raw, smoothed = (correlations(x, bed.truth)[0] for x in (bed.scores, smooth(bed.described, bed.scores).value))
    assert smoothed > raw + 0.05


@pytest.mark.parametrize("scored", [30, 400])
def test_few_and_many_scores_are_fitted_by_a_plane(bed, scored):
    value = smooth(bed.described, np.where(np.arange(400) < scored, bed.scores, np.nan)).value
    columns = np.hstack([bed.described, np.ones((400, 1))])
    assert columns @ np.linalg.lstsq(columns, value, rcond=None)[0] == pytest.approx(value, abs=1e-6)


def test_too_few_scores_are_refused(bed):
    with pytest.raises(InputError, match="19 archs were scored, expected at least 20"):
        smooth(bed.described, np.where(np.arange(400) < 19, bed.scores, np.nan))


# ---- Rankings without truth -----------------------------------------------------------------------------------------


def test_a_combination_adds_the_weighted_log_macs_and_keeps_mean_and_spread():
    rng = np.random.default_rng(0)
    scores, macs = 3 + 2 * rng.normal(size=50), rng.normal(size=50)
    combined = combine(np.full(50, np.nan), Estimate(scores, np.ones(50)), macs).value
    assert (combined.mean(), combined.std()) == pytest.approx((scores.mean(), scores.std()))
    expected = standardised(scores) + MACS_WEIGHT * standardised(macs)
    assert standardised(combined) == pytest.approx(standardised(expected))


def test_untrained_networks_take_the_place_of_the_macs():
    rng = np.random.default_rng(0)
    scores, untrained = rng.normal(size=50), 5 + 3 * rng.normal(size=50)
    smoothed = Estimate(scores, np.ones(50))
    one, other = (combine(np.full(50, np.nan), smoothed, macs, untrained).value for macs in rng.normal(size=(2, 50)))
    assert list(one) == list(other)
    assert standardised(one) == pytest.approx(standardised(standardised(scores) + standardised(untrained)))


def test_a_scored_arch_keeps_a_part_of_what_smoothing_took():
    raw, smoothed = np.array([1.0, np.nan, 4.0]), Estimate(np.array([2.0, 3.0, 3.0]), np.ones(3))
    assert list(surplus(raw, smoothed)) == [-1, 0, 1]
    combined = combine(raw, smoothed, np.zeros(3)).value
    assert combined == pytest.approx([2 - KEPT, 3, 3 + KEPT])


def test_supernets_count_alike_whatever_their_scale():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=40), rng.normal(size=40)
    both = average([Estimate(one, np.ones(40)), Estimate(100 * other, np.ones(40))]).value
    assert standardised(both) == pytest.approx(standardised(standardised(one) + standardised(other)))


def test_one_supernet_stays_as_it_is():
    alone = Estimate(np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.2, 0.3]))
    assert average([alone]).value == pytest.approx(alone.value)
    assert average([alone]).error == pytest.approx(alone.error)


def test_where_supernets_disagree_the_error_says_so():
    sure = np.full(3, 0.01)
    both = average([Estimate(np.array([-1.0, 0.0, 1.0]), sure), Estimate(np.array([1.0, 0.0, -1.0]), sure)])
    assert both.error[0] > 0.5 > both.error[1]
