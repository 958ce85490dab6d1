"""Predictors judged by what they have not seen."""

import numpy as np
import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.comparison import DRAWS, judge
from fewshot_nas.ranking.correlation import agreement

TRUTH = np.random.default_rng(0).normal(size=60)
NOISY = TRUTH + np.random.default_rng(1).normal(size=60)


def named(values):
    return {f"arch{number}": float(value) for number, value in enumerate(values)}


def test_a_predictor_is_asked_about_rows_that_it_has_not_seen():
    asked = []

    def fit(known, wanted):
        asked.append((set(known), set(wanted)))
        return TRUTH[wanted]

    judged = judge(fit, TRUTH, {}, 20)
    assert judged.tau.value == pytest.approx(1)
    assert len(asked) == DRAWS
    assert all(len(known) == 20 and known | wanted == set(range(60)) and not known & wanted for known, wanted in asked)
    assert len({frozenset(known) for known, _ in asked}) > 1


def test_without_truths_it_is_the_plain_agreement():
    judged = judge(lambda _, wanted: NOISY[wanted], TRUTH, {}, 0)
    plain = agreement(named(NOISY), named(TRUTH)).kendall
    assert judged.tau.value == pytest.approx(plain.value)
    assert judged.tau.low == pytest.approx(plain.low, abs=0.04)


def test_gains_are_paired():
    judged = judge(lambda _, wanted: NOISY[wanted], TRUTH, {"itself": NOISY, "reverse": -NOISY}, 10)
    assert judged.gains["itself"].value == judged.gains["itself"].error == 0
    assert judged.gains["reverse"].value == pytest.approx(2 * judged.tau.value)
    assert judged.truths == 10


def test_too_few_archs_to_judge_by_are_refused():
    with pytest.raises(InputError, match="60 truths, expected at least 61"):
        judge(lambda _, wanted: NOISY[wanted], TRUTH, {}, 58)
