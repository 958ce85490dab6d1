"""Scores of some archs, carried over to all."""

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.combination import smooth
from fewshot_nas.ranking.correlation import correlations


def quadratic(rng, archs):
    columns = rng.normal(size=(archs, 3))
    return columns, 1 + columns[:, 0] - 2 * columns[:, 1] * columns[:, 2]


def test_a_quadratic_is_found_where_nothing_was_scored():
    columns, values = quadratic(np.random.default_rng(0), 200)
    scored = values.copy()
    scored[60:] = np.nan
    assert smooth(columns, scored).value == pytest.approx(values, abs=1e-3)


def test_the_error_is_that_of_scores_not_seen():
    rng = np.random.default_rng(1)
    columns, values = quadratic(rng, 2000)
    noisy = values + 0.5 * rng.normal(size=2000)
    estimate = smooth(columns, np.where(np.arange(2000) < 300, noisy, np.nan))
    within = np.abs(noisy - estimate.value)[300:] < estimate.error[300:]
    assert 0.6 < within.mean() < 0.76


def test_smoothed_scores_rank_better_than_raw_ones(bed):
    raw, smoothed = (correlations(x, bed.truth)[0] for x in (bed.scores, smooth(bed.described, bed.scores).value))
    assert smoothed > raw + 0.05


def test_few_scores_are_fitted_by_a_plane(bed):
    scored = np.where(np.arange(400) < 30, bed.scores, np.nan)
    value = smooth(bed.described, scored).value
    plane = np.hstack([bed.described, np.ones((400, 1))])
    assert plane @ np.linalg.lstsq(plane, value, rcond=None)[0] == pytest.approx(value, abs=1e-6)


def test_too_few_scores_are_refused(bed):
    with pytest.raises(InputError, match="19 archs were scored, expected at least 20"):
        smooth(bed.described, np.where(np.arange(400) < 19, bed.scores, np.nan))
