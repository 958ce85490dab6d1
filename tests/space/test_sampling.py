"""Draws: inside their digits, repeatable, uniform."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import distinct, largest, random_arch, shuffled, smallest
from fewshot_nas.space.search_space import SPACES

PX8 = SPACES["px8"]

digit_sets = st.sampled_from([PX8.all_digits, PX8.pool_digits])


@given(st.integers(0, 2**32), digit_sets)
def test_random_archs_stay_inside_their_digits(seed, digits):
    arch = random_arch(PX8, random.Random(seed), digits)
    assert all(out <= most for out, most in zip(arch.outs, digits, strict=True))
    assert all(max(mids) <= most for mids, most in zip(arch.mids, digits, strict=True))


def test_random_archs_are_uniform():
    rng = random.Random(1)
    draws = [random_arch(PX8, rng, PX8.pool_digits) for _ in range(7000)]
    for counts in (Counter(arch.outs[3] for arch in draws), Counter(arch.depths[2] for arch in draws)):
        assert len(counts) == 7
        assert all(abs(count - 1000) < 130 for count in counts.values())  # over four standard deviations


def test_extremes():
    assert largest(PX8).depths == (5, 5, 8, 5)
    assert PX8.encode(largest(PX8)).replace("1", "").replace("0", "") == "5585"
    assert PX8.encode(smallest(PX8)) == "122227" + "7777000000" * 2 + "7777" + "0" * 12 + "7777000000"
    assert smallest(PX8, PX8.pool_digits) == Arch(PX8.pool_digits, ((3, 3), (3, 3), (5, 5), (7, 7)))


@given(st.integers(), st.lists(st.integers(), max_size=9))
def test_shuffled_keeps_every_option(seed, options):
    assert sorted(shuffled(random.Random(seed), options)) == sorted(options)


@pytest.mark.golden
def test_draws_are_the_same_on_every_python():
    assert PX8.encode(random_arch(PX8, random.Random(0))) == "1554344454744424635323737366763666000000004353730000"


def test_distinct_draws_end_where_there_are_no_others():
    rng = random.Random(0)
    assert distinct(lambda: int(3 * rng.random()), 2) in ([2, 1], [2, 0], [1, 2], [1, 0], [0, 1], [0, 2])
    assert sorted(distinct(lambda: int(3 * rng.random()), 80)) == [0, 1, 2]
    assert sorted(distinct(lambda: int(500 * rng.random()), 500)) == list(range(500))
