"""The ranker's table."""

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.comparison import DRAWS, LEFT, best_of, compare, cross_validate
from fewshot_nas.ranking.correlation import correlate, correlations
from fewshot_nas.ranking.interval import PREDICTOR, WITHOUT_SCORES
from fewshot_nas.ranking.ranker import ranker


@pytest.fixture(scope="module")
def known(bed):
    return ranker(bed.described, bed.weights, [np.where(np.arange(400) < 300, bed.scores, np.nan)])


def proxies_of(bed):
    return {"depth": bed.described[:, :4].sum(1), "macs": bed.described[:, -2]}


def rows_of(bed, known, truths, counts=(10, 30)):
    truth = np.where(np.arange(400) % (400 // truths) == 0, bed.truth, np.nan)
    return {
        (row.name, row.truths): row
        for row in compare(known, truth, proxies_of(bed), {"both": sum(proxies_of(bed).values())}, counts)
    }


def test_every_ranking_has_a_row_and_predictors_one_for_each_number_of_truths(bed, known):
    rows = rows_of(bed, known, 50)
    names = [("depth", 0), ("macs", 0), ("both", 0), ("raw", 0), ("smoothed", 0), ("combined", 0)]
    predictors = [(name, count) for count in (10, 30) for name in (PREDICTOR, WITHOUT_SCORES)]
    assert list(rows) == [*names, *predictors]
    assert rows["combined", 0].archs == 50
    assert rows["raw", 0].archs == 38  # of those with a truth, the scored ones
    assert rows[PREDICTOR, 30].tau.value > rows["raw", 0].tau.value + 0.1
    assert rows[WITHOUT_SCORES, 30].tau.value > 0.5


def test_gains_are_over_the_best_single_proxy(bed, known):
    rows = rows_of(bed, known, 50)
    truth = np.where(np.arange(400) % 8 == 0, bed.truth, np.nan)
    best = best_of(proxies_of(bed), truth)
    assert rows[best, 0].gain.value == 0
    assert rows["combined", 0].gain.value == pytest.approx(rows["combined", 0].tau.value - rows[best, 0].tau.value)
    taus = {name: correlations(values[::8], bed.truth[::8])[0] for name, values in proxies_of(bed).items()}
    assert best == max(taus, key=taus.get)


def test_a_predictor_is_left_out_where_too_few_archs_would_judge_it(bed, known):
    assert ("predictor", 40 - LEFT) in rows_of(bed, known, 40, (40 - LEFT,))
    assert ("predictor", 41 - LEFT) not in rows_of(bed, known, 40, (41 - LEFT,))


def test_without_truth_there_is_no_row(bed, known):
    assert list(compare(known, np.full(400, np.nan), proxies_of(bed), {})) == []


# ---- Predictors judged by what they have not seen -------------------------------------------------------------------

TRUTH = np.random.default_rng(0).normal(size=60)
NOISY = TRUTH + np.random.default_rng(1).normal(size=60)


def named(values):
    return {f"arch{number}": float(value) for number, value in enumerate(values)}


def test_a_predictor_is_asked_about_rows_that_it_has_not_seen():
    asked = []

    def fit(known, wanted):
        asked.append((set(known), set(wanted)))
        return TRUTH[wanted]

    judged = cross_validate(fit, TRUTH, {}, 20)
    assert judged.tau.value == pytest.approx(1)
    assert len(asked) == DRAWS
    assert all(len(known) == 20 and known | wanted == set(range(60)) and not known & wanted for known, wanted in asked)
    assert len({frozenset(known) for known, _ in asked}) > 1


def test_without_truths_it_is_the_plain_correlation():
    judged = cross_validate(lambda _, wanted: NOISY[wanted], TRUTH, {}, 0)
    plain = correlate(named(NOISY), named(TRUTH)).kendall
    assert judged.tau.value == pytest.approx(plain.value)
    assert judged.tau.low == pytest.approx(plain.low, abs=0.04)


def test_gains_are_paired():
    judged = cross_validate(lambda _, wanted: NOISY[wanted], TRUTH, {"itself": NOISY, "reverse": -NOISY}, 10)
    assert judged.gains["itself"].value == judged.gains["itself"].error == 0
    assert judged.gains["reverse"].value == pytest.approx(2 * judged.tau.value)
    assert judged.truths == 10


def test_too_few_archs_to_judge_by_are_refused():
    with pytest.raises(InputError, match="60 truths, expected at least 61"):
        cross_validate(lambda _, wanted: NOISY[wanted], TRUTH, {}, 58)
