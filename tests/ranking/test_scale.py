"""Percentages as log odds."""

import numpy as np
import pytest

from fewshot_nas.ranking.combination import log_odds, percent, percent_error


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
