"""Truths of some archs, carried over to all."""

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.predictor import inputs, predict
from fewshot_nas.ranking.ranker import log_odds

FIRST = np.arange(400)  # the numbers of the archs


@pytest.fixture
def columns(bed):
    return inputs(log_odds(bed.scores)[:, None], bed.described)


def test_truths_correct_what_the_supernet_gets_wrong(bed, columns):
    predicted = predict(columns.of(FIRST < 40), log_odds(bed.truth[:40]), columns.of(FIRST >= 40)).value
    raw, ours = (correlations(x, bed.truth[40:])[0] for x in (bed.scores[40:], predicted))
    assert ours > raw + 0.1


def test_more_truths_predict_better(bed, columns):
    last = columns.of(FIRST >= 200)
    errors = [
        np.abs(predict(columns.of(k > FIRST), log_odds(bed.truth[:k]), last).value - log_odds(bed.truth[200:])).mean()
        for k in (10, 40, 200)
    ]
    assert errors == sorted(errors, reverse=True)


def test_the_error_tells_how_far_predictions_are_off(bed, columns):
    estimate = predict(columns.of(FIRST < 60), log_odds(bed.truth[:60]), columns.of(FIRST >= 60))
    off = np.abs(estimate.value - log_odds(bed.truth[60:]))
    # 0.05 is the noise of a seed in the bed, which the error leaves out.
    assert 0.5 < (off < np.hypot(estimate.error, 0.05)).mean() < 0.9


def test_without_features_evidence_alone_is_scaled():
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(60, 1))
    columns = inputs(evidence, np.zeros((60, 5)))
    known = columns.of(np.arange(20))
    assert predict(known, 5 + 2 * evidence[:20, 0], columns).value == pytest.approx(5 + 2 * evidence[:, 0], abs=0.4)


def test_ten_truths_rank_no_worse_than_none(bed, columns):
    """Each ten of the first hundred archs, on average: this failed before the ranking without truth counted."""
    rest, taus = FIRST >= 100, []
    for tenth in np.split(FIRST[:100], 10):
        predicted = predict(columns.of(tenth), log_odds(bed.truth[tenth]), columns.of(rest))
        taus.append(correlations(predicted.value, bed.truth[rest])[0])
    assert np.mean(taus) > correlations(bed.scores[rest], bed.truth[rest])[0]


def test_without_evidence_shapes_and_costs_have_to_do(bed, columns):
    alone = inputs(np.empty((400, 0)), bed.described)
    known, rest = FIRST < 30, FIRST >= 30
    predicted = predict(alone.of(known), log_odds(bed.truth[known]), alone.of(rest))
    assert correlations(predicted.value, bed.truth[rest])[0] > 0.5


def test_scores_that_tell_nothing_cost_nothing(bed):
    """Before, the ranking without truth counted as ten truths, whatever it was worth."""
    noise = np.random.default_rng(0).normal(size=(400, 1))
    rest = FIRST >= 100

    def tau(told):
        """The mean over each twenty of the first hundred archs."""
        taus = []
        for known in np.split(FIRST[:100], 5):
            predicted = predict(told.of(known), log_odds(bed.truth[known]), told.of(rest))
            taus.append(correlations(predicted.value, bed.truth[rest])[0])
        return np.mean(taus)

    nothing, without = inputs(noise, bed.described), inputs(noise[:, :0], bed.described)
    assert tau(nothing) > tau(without) - 0.03


def test_the_ranking_without_truth_counts_as_it_is_if_truths_agree_with_it(bed):
    """Shapes tell nothing here. Where truths contradict it, little is left of it."""
    evidence = log_odds(bed.truth)[:, None]
    for sign in (1, -1):
        told = inputs(sign * evidence, np.zeros((400, 5)))
        predicted = predict(told.of(FIRST < 30), evidence[:30, 0], told).value
        assert np.polyfit(evidence[:, 0], predicted, 1)[0] == pytest.approx(1, abs=0.15)


def test_too_few_truths_are_refused(columns):
    with pytest.raises(InputError, match="9 truths, expected at least 10"):
        predict(columns.of(FIRST < 9), np.arange(9.0), columns)
