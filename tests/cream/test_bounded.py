import random
from collections import Counter
from itertools import product

import pytest
from scipy.stats import chisquare

from fewshot_nas.cream.flops import Bounded, pick

COSTS = [[1.0, 2.1, 3.7], [0.5, 2.2, 2.3], [1.1, 1.9, 5.0], [1.0, 1.0, 4.0]]
PROBABILITIES = [(0.02, 0.18, 0.8), (0.8, 0.02, 0.18), (0.3, 0.3, 0.4), (0.02, 0.18, 0.8)]


def within(low, high):
    """The sequences that fit, and their probabilities among all."""
    fitting = {}
    for sequence in product(range(3), repeat=4):
        if low <= sum(row[choice] for row, choice in zip(COSTS, sequence, strict=True)) <= high:
            weight = 1.0
            for probabilities, choice in zip(PROBABILITIES, sequence, strict=True):
                weight *= probabilities[choice]
            fitting[sequence] = weight
    return fitting


@pytest.mark.parametrize(("low", "high"), [(0, 100), (0, 6.4), (7, 9), (13, 100)])
def test_what_fits_is_drawn_as_often_as_by_drawing_freely_and_keeping_it(low, high):
    sampler, rng, fitting = Bounded(COSTS, PROBABILITIES, low, high), random.Random(0), within(low, high)
    draws = 3000
    drawn = Counter(sampler.draw(rng) for _ in range(draws))
    assert drawn.keys() <= fitting.keys()
    expected = {sequence: draws * weight / sum(fitting.values()) for sequence, weight in fitting.items()}
    common = [sequence for sequence in fitting if expected[sequence] >= 5]
    observed = [drawn[sequence] for sequence in common]
    rest, rest_observed = draws - sum(expected[each] for each in common), draws - sum(observed)
    pooled = ([*observed, rest_observed], [*(expected[each] for each in common), rest])
    assert chisquare(*(pooled if rest > 1e-6 else (each[:-1] for each in pooled))).pvalue > 0.01


def test_bounds_that_leave_out_the_likely_are_met_at_once():
    sampler, rng = Bounded([[1.0, 10.0]] * 20, [(1e-4, 1 - 1e-4)] * 20, 0, 25), random.Random(0)
    assert sampler.draw(rng) == (0,) * 20


@pytest.mark.parametrize(("low", "high"), [(0, 3), (16, 20), (8.0001, 8.0002)])
def test_nothing_is_drawn_where_nothing_fits(low, high):
    assert not within(low, high)
    assert Bounded(COSTS, PROBABILITIES, low, high).draw(random.Random(0)) is None


def test_weightless_choices_are_never_picked():
    class Last(random.Random):
        def random(self):
            return 1 - 2**-53

    assert pick(Last(), [0.1, 0.2, 0.0]) == 1
    assert pick(random.Random(0), [0.0, 0.0, 1e-300]) == 2
