"""Rankings without truth."""

import numpy as np
import pytest

from fewshot_nas.ranking.combination import KEPT, MACS_WEIGHT, Estimate, average, combine, surplus
from fewshot_nas.ranking.features import standardised


def test_a_combination_adds_the_weighted_log_macs_and_keeps_mean_and_spread():
    rng = np.random.default_rng(0)
    scores, macs = 3 + 2 * rng.normal(size=50), rng.normal(size=50)
    combined = combine(np.full(50, np.nan), Estimate(scores, np.ones(50)), macs).value
    assert (combined.mean(), combined.std()) == pytest.approx((scores.mean(), scores.std()))
    expected = standardised(scores) + MACS_WEIGHT * standardised(macs)
    assert standardised(combined) == pytest.approx(standardised(expected))


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
