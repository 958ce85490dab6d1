"""Widths, groups and block layouts."""

import dataclasses
import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.errors import InputError
from fewshot_nas.space.block import Block
from fewshot_nas.space.sampling import random_arch
from fewshot_nas.space.search_space import SPACES, SearchSpace, round_width

PX8 = SPACES["px8"]

TRACK1 = SPACES["track1"]
STAGE3 = (176, 192, 208, 216, 232, 240, 256)
STAGE4 = (360, 384, 408, 432, 464, 488, 512)


@pytest.mark.golden
def test_track1_widths():
    assert [TRACK1.widths(stage) for stage in range(4)] == [(48, 56, 64), (88, 96, 104, 112, 120, 128), STAGE3, STAGE4]
    assert [TRACK1.width(3, digit) for digit in range(1, 8)] == list(reversed(STAGE4))


@given(st.floats(1, 2000), st.integers(1, 16))
def test_rounded_widths_are_near_multiples(value, divisor):
    width = round_width(value, divisor)
    assert width % divisor == 0
    assert width == divisor or 0.9 * value <= width <= value + divisor


@pytest.mark.parametrize(("value", "width"), [(3.9, 8), (11.9, 16), (12, 16), (8.8, 8), (8.9, 16), (108.8, 112)])
def test_a_width_that_would_lose_a_tenth_is_rounded_up(value, width):
    assert round_width(value, 8) == width


@pytest.mark.parametrize(("block", "projects"), [((8, 4, 8, 1), False), ((8, 4, 8, 2), True), ((8, 4, 6, 1), True)])
def test_a_shortcut_projects_where_the_shape_changes(block, projects):
    assert Block(0, *block).projects == projects


@given(st.integers(0, 2**32), st.sampled_from(sorted(SPACES)))
def test_blocks_follow_one_another(seed, name):
    space, arch = SPACES[name], random_arch(SPACES[name], random.Random(seed))
    blocks = space.blocks(arch)
    assert [block.stage for block in blocks] == [s for s, depth in enumerate(arch.depths) for _ in range(depth)]
    assert blocks[0].inputs == space.stem_width(arch.outs[0])
    for before, after in pairwise(blocks):
        assert after.inputs == before.out
        assert after.stride == (space.strides[after.stage] if after.stage != before.stage else 1)


def test_blocks_of_a_known_code():
    blocks = TRACK1.blocks(PX8.decode("1252233313000000223212122253130000000000006515000000"))
    assert blocks[:3] == (Block(0, 56, 56, 56, 1), Block(0, 56, 64, 56, 1), Block(1, 56, 120, 120, 2))
    assert [block.projects for block in blocks[:4]] == [False, False, True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratios": ()}, "ratios has 0 values, expected 1 to 9"),
        ({"depths": ((2, 5),)}, "depths has 1 values, expected 4"),
        ({"depths": ((2, 1),) * 4}, "depths are"),
        ({"depths": ((0, 1),) * 4}, "depths are"),
        ({"block": "wide"}, "block is 'wide', expected one of basic, bottleneck"),
        ({"ratios": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0)}, "falling"),
        ({"ratios": (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.0)}, "falling"),
        ({"ratios": (1.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)}, "falling"),
        ({"base_widths": (8, 8, 8, 0)}, "must be positive"),
        ({"strides": (1, 2, 2, 0)}, "must be positive"),
        ({"divisor": 0}, "must be positive"),
        ({"stem_kernel": 2}, "expected an odd size"),
        ({"pool_digits": (3, 3, 5, 8)}, r"expected each in 1\.\.7"),
    ],
)
def test_an_impossible_space_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(TRACK1, **change)


def test_a_changed_preset_does_not_keep_its_name():
    changed = dataclasses.replace(TRACK1, resolution=32).marked()
    assert changed.name == "track1 changed"
    assert TRACK1.marked() is TRACK1
    assert SearchSpace.of(json.loads(json.dumps(changed.values()))) == changed


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_a_space_comes_back_from_json(space):
    assert SearchSpace.of(json.loads(json.dumps(space.values()))) == space
