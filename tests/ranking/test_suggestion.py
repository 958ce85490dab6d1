"""Which archs to score, or to train alone next."""

import numpy as np
import pytest

from fewshot_nas.ranking.suggestion import NOISE, sample, spread, suggest
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES


@pytest.fixture
def columns():
    return np.random.default_rng(0).normal(size=(120, 3))


def test_a_larger_spread_begins_with_the_smaller_one(columns):
    assert spread(columns, 50)[:20] == spread(columns, 20)
    assert len(set(spread(columns, 120))) == 120


def test_each_next_row_is_the_farthest(columns):
    *before, last = spread(columns, 10)
    distances = np.linalg.norm(columns[:, None] - columns[None, before], axis=2).min(1)
    assert last == distances.argmax()


def test_a_spread_of_more_rows_than_there_are_is_refused(columns):
    with pytest.raises(ValueError, match="121 of 120"):
        spread(columns, 121)


def variance(columns, known):
    """The sum of all rows' variances when some are known, without the shortcut."""
    extended = np.hstack([columns, np.ones((len(columns), 1))])
    precision = np.eye(extended.shape[1]) + extended[known].T @ extended[known] / NOISE
    return np.einsum("np,pq,nq->", extended, np.linalg.inv(precision), extended)


def test_the_first_suggestion_leaves_the_least_variance(columns):
    known = [3, 50]
    (best,) = suggest(columns, 1, known)
    left = {row: variance(columns, [*known, row]) for row in range(120) if row not in known}
    assert best == min(left, key=left.get)


def test_suggestions_are_new_and_distinct(columns):
    rows = suggest(columns, 118, [3, 50])
    assert sorted([*rows, 3, 50]) == list(range(120))
    assert suggest(columns, 500, [3, 50]) == rows


def test_a_sample_of_a_pool_contains_the_smaller_ones_and_all_depths():
    pool = make_pool(SPACES["px8"], seed=0, size=300)
    large, small = (sample(SPACES["px8"], pool, count) for count in (60, 25))
    assert small < large < set(pool)
    assert (len(small), len(large)) == (25, 60)
    for stage in range(4):
        assert {pool[i][stage] for i in large} == {arch[stage] for arch in pool.values()}
