"""Widths, groups and block layouts."""

import dataclasses
import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Op, basic
from fewshot_nas.space.macro import MacroSpace
from fewshot_nas.space.mobilenet import MobileNetSpace
from fewshot_nas.space.presets import SPACES, preset, space_of, with_values
from fewshot_nas.space.space import STEM, random_arch, round_width
from tests.kinds import ALL, GATED

PX8, TRACK1, MACRO = SPACES["px8"], SPACES["track1"], SPACES["macro"]
EVERY = (*SPACES.values(), *ALL)


def widths(space, stage):
    return sorted({space.width(stage, digit) for digit in range(1, space.digits + 1)})


@pytest.mark.golden
def test_track1_widths():
    assert widths(TRACK1, 0) == [48, 56, 64]
    assert widths(TRACK1, 1) == [88, 96, 104, 112, 120, 128]
    assert widths(TRACK1, 2) == [176, 192, 208, 216, 232, 240, 256]
    assert [TRACK1.width(3, digit) for digit in range(1, 8)] == [512, 488, 464, 432, 408, 384, 360]


@given(st.floats(1, 2000), st.integers(1, 16))
def test_rounded_widths_are_near_multiples(value, divisor):
    width = round_width(value, divisor)
    assert width % divisor == 0
    assert width == divisor or 0.9 * value <= width <= value + divisor


@pytest.mark.parametrize(("value", "width"), [(3.9, 8), (11.9, 16), (12, 16), (8.8, 8), (8.9, 16), (108.8, 112)])
def test_a_width_that_would_lose_a_tenth_is_rounded_up(value, width):
    assert round_width(value, 8) == width


@given(st.integers(0, 2**32), st.sampled_from(EVERY))
def test_blocks_follow_one_another(seed, space):
    arch, sides = random_arch(space, random.Random(seed)), space.sides()
    blocks = space.blocks(arch)
    assert blocks[0][0] == 0
    assert space.places[0].stage == STEM
    assert blocks[0][1].inputs == space.in_channels
    assert space.head(arch).inputs == blocks[-1][1].out
    assert sides[0] == space.resolution
    assert sides[-1] == -(-space.resolution // space.reduction)
    side = sides[0]
    for (place, before), (later, after) in pairwise(blocks):
        assert place < later
        assert after.inputs == before.out
        side = before.side_after(side)
        assert side == sides[later]


@given(st.integers(0, 2**32), st.sampled_from(EVERY))
def test_a_block_depends_on_the_slots_that_its_place_reads(seed, space):
    one, other = (random_arch(space, random.Random(f"{seed}/{number}")) for number in (1, 2))
    for number, place in enumerate(space.places):
        mixed = tuple(
            ours if slot in place.reads else theirs for slot, (ours, theirs) in enumerate(zip(one, other, strict=True))
        )
        if all(one[slot] or space.slots[slot].when is None for slot in place.reads):
            assert space.block_at(number, mixed) == space.block_at(number, one)
    mixed = tuple(one[slot] if slot in space.head_reads else value for slot, value in enumerate(other))
    assert space.head(mixed) == space.head(one)


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_slots_and_places_keep_their_promises(space):
    assert len({slot.name for slot in space.slots}) == len(space.slots)
    for number, slot in enumerate(space.slots):
        assert slot.options == tuple(sorted(slot.options))
        assert slot.name.startswith(f"{slot.stage} {slot.role}")
        assert slot.when is None or (slot.when[0] < number and slot.options[0] > 0)
    for place in space.places:
        assert all(0 <= slot < len(space.slots) for slot in place.reads)
        assert {place.out, place.choice} - {None} <= {*place.reads}


def test_blocks_of_a_known_code():
    blocks = [
        block for _, block in TRACK1.blocks(TRACK1.decode("1252233313000000223212122253130000000000006515000000"))
    ]
    assert blocks[0].main == (Op(3, 56, 7, 2, act="relu"),)
    assert blocks[0].pool
    assert blocks[1:4] == [basic(56, 56, 56), basic(56, 64, 56), basic(56, 120, 120, 2)]
    assert [bool(block.shortcut) for block in blocks[1:5]] == [False, False, True, False]


def test_blocks_of_a_macro_code():
    """Identities are no blocks, but in the first block of a stage they are a convolution."""
    blocks = MACRO.blocks(MACRO.decode("02012100"))
    assert [place for place, _ in blocks] == [0, 1, 2, 3, 4, 5, 6, 9]
    assert [[op.out for op in block.main] for _, block in blocks[1:4]] == [[64], [384, 384, 64], [128]]
    assert [block.shortcut for _, block in blocks[1:4]] == [None, (), None]
    assert MACRO.depth(MACRO.decode("02012100")) == 7


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


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (MacroSpace, {"lengths": (2, 3)}, "expected both for each stage"),
        (MacroSpace, {"lengths": (2, 3, 0)}, "must be positive"),
        (MacroSpace, {"choices": ()}, "choices are"),
        (
            MacroSpace,
            {"choices": ((2, 3),)},
            r"choices has \[2, 3\], expected an odd kernel and an expansion, or \[0, 0\]",
        ),
        (MacroSpace, {"choices": ((0, 3),)}, r"choices has \[0, 3\]"),
        (MacroSpace, {"choices": ((3, 1),) * 11}, "expected one to ten pairs"),
        (MobileNetSpace, {"strides": (1,)}, "need a value for each stage"),
        (MobileNetSpace, {"mid_widths": ((768,), ())}, "expected a width for each block, and a block in each stage"),
        (MobileNetSpace, {"digits": 10}, "digits is 10, expected 1 to 9"),
        (MobileNetSpace, {"kernel": 4}, "kernel is 4, expected an odd side"),
        (MobileNetSpace, {"last_width": 0}, "must be positive"),
    ],
)
def test_an_impossible_space_of_another_kind_is_refused(kind, change, message):
    with pytest.raises(InputError, match=f"space mine: .*{message}"):
        kind("mine", **{"in_channels": 3, "resolution": 32} | change)


def test_a_changed_preset_does_not_keep_its_name():
    changed = with_values(TRACK1, {"resolution": 32})
    assert changed.name == "track1 changed"
    assert with_values(TRACK1, {"resolution": 224}) is TRACK1
    assert space_of(json.loads(json.dumps(changed.values()))) == changed
    with pytest.raises(InputError, match=r"space\.choices does not exist for track1, which has base_widths"):
        with_values(TRACK1, {"choices": ((0, 0),)})


@pytest.mark.parametrize("space", [*SPACES.values(), *ALL[:-1]], ids=lambda space: space.name)
def test_a_space_comes_back_from_json(space):
    again = space_of(json.loads(json.dumps(space.values())))
    assert (again, type(again), hash(again)) == (space, type(space), hash(space))


def test_a_space_of_ones_own_comes_back_by_its_name():
    mine = preset("tests.kinds:GATED")
    assert mine == dataclasses.replace(GATED, name="tests.kinds:GATED")
    assert space_of(json.loads(json.dumps(mine.values()))) == mine
    changed = with_values(mine, {"resolution": 16})
    assert space_of(json.loads(json.dumps(changed.values()))) == changed
    with pytest.raises(InputError, match="'builtins:dict', which is no Space"):
        preset("builtins:dict")


@pytest.mark.parametrize("values", [{"kind": "star", "name": "mine"}, {"kind": ["macro"], "name": "mine"}])
def test_a_space_of_no_kind_is_refused(values):
    with pytest.raises((InputError, TypeError)):
        space_of(values)
