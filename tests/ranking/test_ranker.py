"""From scores, costs and truths to a value for every arch."""

import numpy as np
import pytest

from fewshot_nas.ranking.combination import Estimate, log_odds
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.ranker import in_percent, ranker


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
