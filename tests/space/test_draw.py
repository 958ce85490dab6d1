"""Draws: inside their options, repeatable, uniform; and all archs, each once."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.space.pool import all_archs, distinct, shuffled
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.training.draws import with_outs
from tests.kinds import ALL, BOTTLENECK, CHANNELS, CHOICES, GATED, MACRO, few

PX8 = SPACES["px8"]
spaces = st.sampled_from(ALL)


@given(st.integers(0, 2**32), spaces, st.booleans())
def test_random_archs_are_of_the_space_and_inside_their_options(seed, space, pool):
    options = space.pool_options if pool else few(space)
    arch = random_arch(space, random.Random(seed), options)
    space.check(arch)
    assert all(value in each or not value for value, each in zip(arch, options, strict=True))
    assert space.in_pool(arch) or not pool


def test_random_archs_are_uniform():
    rng = random.Random(1)
    draws = [random_arch(PX8, rng, PX8.pool_options) for _ in range(7000)]
    slot = {each.name: number for number, each in enumerate(PX8.slots)}
    for name in ("3 out", "2 depth"):
        counts = Counter(arch[slot[name]] for arch in draws)
        assert len(counts) == 7
        assert all(abs(count - 1000) < 130 for count in counts.values())  # over four standard deviations


def test_extremes():
    largest, smallest = (PX8.extreme(PX8.all_options, largest=each) for each in (True, False))
    assert largest[:4] == (5, 5, 8, 5)
    assert PX8.encode(largest).replace("1", "").replace("0", "") == "5585"
    assert PX8.encode(smallest) == "122227" + "7777000000" * 2 + "7777" + "0" * 12 + "7777000000"
    of_pool = PX8.extreme(PX8.pool_options, largest=False)
    assert of_pool == PX8.arch((3, 3, 5, 7), ((3, 3), (3, 3), (5, 5), (7, 7)))
    ends = {
        name: [SPACES[name].extreme(SPACES[name].all_options, largest=each) for each in (True, False)]
        for name in SPACES
    }
    assert [SPACES["channel_resnet"].encode(arch) for arch in ends["channel_resnet"]] == ["4444444", "1111111"]
    assert [SPACES["channel_mobilenet"].encode(arch) for arch in ends["channel_mobilenet"]] == ["4444444", "1111111"]
    assert [SPACES["macro"].encode(arch) for arch in ends["macro"]] == ["22222222", "00000000"]


TINY = replace(BOTTLENECK, ratios=(1.0, 0.5), pool_digits=(2, 1, 1), depths=((1, 2), (1, 1), (1, 3)))


@pytest.mark.parametrize(
    ("space", "options", "count"),
    [
        (CHANNELS, None, 4**7),
        (MACRO, None, 3**8),
        (CHOICES, None, 3**4),
        (GATED, None, (2 + 4 + 8) * 2 * 3 * 3),
        (TINY, None, 8 * (2 + 4) * 2 * (2 + 4 + 8)),
        (TINY, TINY.pool_options, 2 * (2 + 4) * 1 * (1 + 1 + 1)),
    ],
)
def test_all_archs_are_as_many_as_are_counted_and_ascend(space, options, count):
    archs = list(all_archs(space, options))
    assert len(archs) == len({*archs}) == space.count(options or space.all_options) == count
    assert archs == sorted(archs)
    for arch in archs[:: max(1, count // 100)]:
        assert space.decode(space.encode(arch)) == arch


@pytest.mark.golden
def test_the_competitions_space_has_so_many_archs():
    inner = [sum(7**depth for depth in range(2, most + 1)) for most in (5, 5, 8, 5)]
    assert PX8.count(PX8.all_options) == 7**4 * inner[0] * inner[1] * inner[2] * inner[3]


@given(st.integers(0, 2**32), spaces)
def test_an_arch_takes_anothers_output_widths(seed, space):
    one, other = (random_arch(space, random.Random(f"{seed}/{number}")) for number in (1, 2))
    found = with_outs(space, one, other)
    space.check(found)
    for slot, value, ours, theirs in zip(space.slots, found, one, other, strict=True):
        assert value == (theirs if slot.role == "out" else ours)


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
