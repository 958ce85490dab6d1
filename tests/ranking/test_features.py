"""What is known of an arch without training."""

import math

import numpy as np
import pytest

from fewshot_nas.ranking.correlation import proxies
from fewshot_nas.ranking.features import (
    NOISE,
    WIDTH_WEIGHT,
    composites,
    features,
    sample,
    spread,
    standardised,
    suggest,
    weights,
    widths,
)
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]
OUTS = (1, 2, 3, 7)

ARCH = PX8.arch(OUTS, ((1, 3), (2, 2, 2), (1, 5, 3), (7, 1)))


def test_the_columns_are_depths_widths_and_costs():
    space = SPACES["px28"]
    (row,) = features(space, [ARCH], resolution=32, num_classes=10)
    cost = space.cost(ARCH, resolution=32, num_classes=10)
    assert list(row[:4]) == [2, 3, 3, 2]
    assert list(np.exp(row[4:8]).round(6)) == [space.width(stage, digit) for stage, digit in enumerate(OUTS)]
    assert row[8] == pytest.approx((math.log(space.width(0, 1)) + math.log(space.width(0, 3))) / 2)
    assert list(row[-2:]) == [math.log(cost.macs), math.log(cost.params)]


def test_standardised_columns_have_mean_0_and_deviation_1_unless_constant():
    columns = standardised(np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]))
    assert columns[:, 0].mean() == pytest.approx(0)
    assert columns[:, 0].std() == pytest.approx(1)
    assert list(columns[:, 1]) == [0, 0, 0]


def test_output_widths_count_more_and_all_columns_together_as_before():
    each = weights(PX8)
    assert each[4:8] == pytest.approx(WIDTH_WEIGHT * each[8:12])
    assert each[0] == each[-1]
    assert np.sum(each**2) == pytest.approx(features(PX8, [ARCH]).shape[1])


def test_where_depths_are_fixed_each_place_has_columns_of_its_own():
    """By the means of a stage, middles that are swapped could not be told from each other."""
    space = SPACES["channel_resnet"]
    one, other = (space.decode(key) for key in ("4432214", "4342214"))
    described = features(space, [one, other], num_classes=10)
    assert described.shape == (2, len(weights(space)))
    assert np.any(described[0, :-2] != described[1, :-2])
    assert sorted(described[0, :-2]) == pytest.approx(sorted(described[1, :-2]))


def test_composite_proxies_weigh_their_parts_alike():
    single = proxies(SPACES["px8"], make_pool(PX8, seed=0, size=20), num_classes=10)
    composite = composites(single)
    assert list(composite) == ["depth + params", "depth + macs", "depth + params + macs"]
    depth, params = (standardised(np.log(list(single[name].values()))) for name in ("depth", "params"))
    assert list(composite["depth + params"]) == list(single["depth"])
    assert list(composite["depth + params"].values()) == pytest.approx(list(depth + params))


def test_each_stage_has_a_width_that_says_it_is_hindsight():
    found = widths(PX8, {"arch1": ARCH})
    assert list(found) == [f"width of stage {stage}, hindsight" for stage in (1, 2, 3, 4)]
    assert [each["arch1"] for each in found.values()] == [PX8.width(stage, out) for stage, out in enumerate(OUTS)]


# ---- Which archs to score, or to train alone next -------------------------------------------------------------------


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
