"""Truths of some archs, carried over to all."""

import numpy as np
import pytest

from fewshot_nas.errors import InputError
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.scale import log_odds


@pytest.fixture
def columns(bed):
    return inputs(log_odds(bed.scores)[:, None], bed.described)


def test_truths_correct_what_the_supernet_gets_wrong(bed, columns):
    predicted = predict(columns[:40], log_odds(bed.truth[:40]), columns[40:]).value
    raw, ours = (correlations(x, bed.truth[40:])[0] for x in (bed.scores[40:], predicted))
    assert ours > raw + 0.1


def test_more_truths_predict_better(bed, columns):
    errors = [
        np.abs(predict(columns[:k], log_odds(bed.truth[:k]), columns[200:]).value - log_odds(bed.truth[200:])).mean()
        for k in (10, 40, 200)
    ]
    assert errors == sorted(errors, reverse=True)


def test_the_error_tells_how_far_predictions_are_off(bed, columns):
    estimate = predict(columns[:60], log_odds(bed.truth[:60]), columns[60:])
    off = np.abs(estimate.value - log_odds(bed.truth[60:]))
    # 0.05 is the noise of a seed in the bed, which the error leaves out.
    assert 0.5 < (off < np.hypot(estimate.error, 0.05)).mean() < 0.9


def test_without_features_evidence_alone_is_scaled():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(60, 1))
    columns = inputs(evidence, np.zeros((60, 1)))
    assert predict(columns[:20], 5 + 2 * evidence[:20, 0], columns).value == pytest.approx(
        5 + 2 * evidence[:, 0], abs=0.4
    )


def test_too_few_truths_are_refused(columns):
    with pytest.raises(InputError, match="9 truths, expected at least 10"):
        predict(columns[:9], np.arange(9.0), columns)
