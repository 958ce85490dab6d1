"""Splits: the rules, tables, refinement, and what is stored."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import (
    EVERYTHING,
    Rule,
    Split,
    by_choice,
    by_width,
    one_shot,
    shared,
    split_of,
)
from studies.arms.splits import by_depth, by_table
from tests.kinds import ALL, CHOICES, FINER, GATED, MACRO, MBCONV, SPLITS, named

TRACK1, PX8 = SPACES["track1"], SPACES["px8"]
STAGE3 = (176, 192, 208, 216, 232, 240, 256)
STAGE4 = (360, 384, 408, 432, 464, 488, 512)
RESNETS = [SPACES[name] for name in ("track1", "px28", "px8", "cifar", "resnet50", "channel_resnet")]
by_name = pytest.mark.parametrize("space", RESNETS, ids=lambda space: space.name)


def places(space, stage):
    return [number for number, place in enumerate(space.places) if place.stage == stage]


def caps(split, stage):
    """Output width of each group of a stage."""
    first = places(split.space, stage)[0]
    return tuple(block.out for (place, _), block in split.homes.items() if place == first)


def members(split, stage):
    """The (output width, depth) pairs of each group of a stage."""
    space, found = split.space, {}
    out, depth = (
        next(n for n, s in enumerate(space.slots) if s.name == f"{stage} {role}") for role in ("out", "depth")
    )
    for arch in space.archs_that_read((out, depth), space.all_options):
        (group,) = {split.rules[place].group(arch) for place in places(space, stage)}
        found.setdefault(group, set()).add((space.width(stage, arch[out]), arch[depth]))
    return found


def tables_of(draw, space):
    """Any group for each output width and depth of each stage."""
    tables = []
    for stage, (least, most) in enumerate(space.depths):
        rows = len({space.width(stage, digit) for digit in range(1, space.digits + 1)})
        columns = most - least + 1
        drawn = draw(st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns))
        number = {group: index for index, group in enumerate(dict.fromkeys(drawn))}
        flat = [number[group] for group in drawn]
        tables.append([flat[row * columns : (row + 1) * columns] for row in range(rows)])
    return tables


TINY = replace(
    PX8,
    name="tiny",
    base_widths=(8, 16),
    ratios=(1.0, 0.75, 0.5),
    strides=(1, 2),
    pool_digits=(3, 3),
    depths=((1, 3), (2, 4)),
)


@st.composite
def splits(draw, space=TINY):
    """Any split of a space."""
    return by_table(space, tables_of(draw, space), "table-drawn")


@pytest.mark.golden
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (1, [(64,), (128,), (256,), (512,)]),
        (2, [(56, 64), (120, 128), (240, 256), (488, 512)]),
        (3, [(48, 56, 64), (112, 120, 128), (232, 240, 256), (464, 488, 512)]),
        (4, [(48, 56, 64), (104, 112, 120, 128), STAGE3[3:], STAGE4[3:]]),
        (5, [(48, 56, 64), (96, 104, 112, 120, 128), STAGE3[2:], STAGE4[2:]]),
        (6, [(48, 56, 64), (88, 96, 104, 112, 120, 128), STAGE3[1:], STAGE4[1:]]),
        (7, [(48, 56, 64), (88, 96, 104, 112, 120, 128), STAGE3, STAGE4]),
    ],
)
def test_track1_group_caps(groups, expected):
    split = by_width(TRACK1, groups)
    assert [caps(split, stage) for stage in range(4)] == expected
    assert split.counts() == list(map(len, expected))
    assert split.groups == groups
    assert [head.inputs for head in split.heads.values()] == list(expected[-1])


@by_name
@pytest.mark.parametrize("groups", range(1, 8))
def test_the_group_of_a_width_is_the_smallest_cap_that_holds_it(space, groups):
    split = by_width(space, groups)
    for stage in range(space.stages):
        known = caps(split, stage)
        for group, pairs in members(split, stage).items():
            assert all(known[group] == min(cap for cap in known if cap >= width) for width, _ in pairs)


@pytest.mark.parametrize(
    "space", [space for space in ALL if space not in (MACRO, CHOICES, MBCONV)], ids=lambda space: space.name
)
def test_more_groups_by_width_refine_fewer(space):
    for groups in range(1, 7):
        fewer, more = by_width(space, groups), by_width(space, groups + 1)
        assert more.refines(fewer)
        assert fewer.refines(more) == (fewer == more)


@pytest.mark.parametrize("groups", [0, 8])
def test_an_impossible_number_of_groups_is_refused(groups):
    with pytest.raises(InputError, match=r"expected 1\.\.7"):
        by_width(TRACK1, groups)


def test_a_space_without_widths_is_not_split_by_them():
    assert by_width(MACRO, 1) == one_shot(MACRO)
    with pytest.raises(InputError, match="space small macro_quarter has no choice of output widths to split by"):
        by_width(MACRO, 2)


def test_a_split_by_depth_has_spans_of_depths_in_its_stages():
    split = by_depth(TRACK1, [2], 2)
    assert split.counts() == [1, 1, 2, 1]
    group = {depth: group for group, pairs in members(split, 2).items() for _, depth in pairs}
    assert [group[depth] for depth in range(2, 9)] == [0, 0, 0, 0, 1, 1, 1]
    assert split.name == "depth3x2"
    # The group of the shallow ones has no blocks that none of them has.
    stage = [home for home in split.homes if home[0] in places(TRACK1, 2)]
    assert Counter(group for _, group in stage) == {0: 5, 1: 8}


def test_a_split_by_choices_has_a_group_for_each_combination_everywhere():
    split = by_choice(MACRO, ["0 block 1", "2 block 0"])
    assert split.groups == 9
    assert split.name == "choice0block12block0"
    for seed in range(20):
        arch = random_arch(MACRO, random.Random(seed))
        homes = [home for _, home in split.network(arch)] + [split.head(arch)[1]]
        assert {group for _, group in homes} == {3 * arch[1] + arch[5]}
    assert by_choice(MACRO, ["2 block 0", "0 block 1"]) == split


def test_a_choice_within_a_depth_that_all_archs_have_can_be_split_by():
    split, slots = by_choice(PX8, ["1 mid 0"]), [slot.name for slot in PX8.slots]
    for seed in range(5):
        arch = random_arch(PX8, random.Random(seed))
        assert {home[1] for _, home in split.network(arch)} == {arch[slots.index("1 mid 0")] - 1}


@pytest.mark.parametrize("slot", ["0 block 8", "4 mid", "0 block 1"])
def test_a_slot_that_cannot_be_split_by_is_refused(slot):
    with pytest.raises(InputError, match=f"slot '{slot}' is not one to split by, expected one of 0 depth, "):
        by_choice(GATED, [slot])


def test_choices_of_their_own_are_groups_and_the_shared_ones_are_the_parent():
    own, common = one_shot(CHOICES), shared(CHOICES)
    assert (own.name, common.name) == ("1", "shared")
    assert own.refines(common)
    assert not common.refines(own)
    assert own.within(common) == own
    assert (own.groups, common.groups) == (3, 1)
    # Kernels 3, 5 and 7 with expansions 2, 3 and 1.
    assert [
        (block.out, block.main[1].kernel, block.main[1].out) for block in common.homes.values() if len(block.main) > 1
    ] == [
        (6, 7, 12),
        (6, 7, 18),
        (8, 7, 18),
        (8, 7, 24),
    ]
    with pytest.raises(InputError, match=r"blocks of .* operations cannot share tensors"):
        assert shared(MACRO).homes  # its identities have one operation, or none


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_blocks_have_the_group_of_their_place(split):
    homes, heads = split.homes, split.heads
    for seed in range(5):
        arch = random_arch(split.space, random.Random(seed))
        for (place, block), (same, home) in zip(split.space.blocks(arch), split.network(arch), strict=True):
            assert (block, place, split.rules[place].group(arch)) == (same, *home)
            assert home in homes
        assert split.head(arch)[1] in heads


@given(splits())
def test_a_group_has_the_widest_and_deepest_of_its_members(split):
    homes = split.homes
    for stage in range(2):
        for group, pairs in members(split, stage).items():
            for position, place in enumerate(places(TINY, stage)):
                widths = [width for width, depth in pairs if depth > position]
                assert ((place, group) in homes) == bool(widths)
                assert not widths or homes[place, group].out == max(widths)


@given(splits(), splits())
def test_within_is_the_coarsest_common_refinement(one, other):
    both = one.within(other)
    assert both.refines(one)
    assert both.refines(other)
    for stage in range(2):
        ours = [set(pairs) for pairs in members(both, stage).values()]
        cells = [a & b for a in members(one, stage).values() for b in members(other, stage).values()]
        assert sorted(map(sorted, ours)) == sorted(sorted(cell) for cell in cells if cell)


@given(splits(), splits())
def test_refines_means_that_no_group_has_members_of_two(child, parent):
    homes = all(
        any(pairs <= home for home in members(parent, stage).values())
        for stage in range(2)
        for pairs in members(child, stage).values()
    )
    assert child.refines(parent) == homes


@pytest.mark.parametrize(("parent", "child"), FINER, ids=lambda split: named(split))
def test_a_home_lies_in_the_parents_that_serves_its_blocks(parent, child):
    assert child.refines(parent)
    assert not parent.refines(child)
    for seed in range(10):
        arch = random_arch(child.space, random.Random(seed))
        for (_, ours), (_, theirs) in zip(child.network(arch), parent.network(arch), strict=True):
            assert child.parent_home(parent, ours) == theirs
        assert child.parent_home(parent, child.head(arch)[1]) == parent.head(arch)[1]


def test_a_split_that_joins_groups_is_refused():
    with pytest.raises(InputError, match="split 2 does not refine split depth1x2: group 0 of stage 1 joins members"):
        by_width(PX8, 2).parent_home(by_depth(PX8, [0], 2), (1, 0))
    with pytest.raises(InputError, match="group 0 of the head joins members of the groups 0, 1"):
        one_shot(PX8).parent_home(by_width(PX8, 2), (len(PX8.places), 0))
    assert not by_width(PX8, 2).refines(by_width(TRACK1, 1))


@given(splits())
def test_a_split_comes_back_from_json(split):
    again = split_of(TINY, json.loads(json.dumps(split.values())))
    assert (again, again.name) == (split, split.name)


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_a_split_of_any_space_comes_back_from_json(split):
    again = split_of(split.space, json.loads(json.dumps(split.values())))
    assert (again, again.name, hash(again)) == (split, split.name, hash(split))


@pytest.mark.parametrize("groups", range(1, 8))
def test_the_rule_by_width_is_stored_as_a_number(groups):
    assert by_width(PX8, groups).values() == {"groups": groups}
    tables = []
    for stage, (least, most) in enumerate(PX8.depths):
        group = {width: group for group, pairs in members(by_width(PX8, groups), stage).items() for width, _ in pairs}
        tables.append([[group[width]] * (most - least + 1) for width in sorted(group)])
    mine = by_table(PX8, tables, "table-mine")
    # The table names no group of the stem, which the rule by width does not split, and of the head, as the last stage.
    assert mine.rules[-1] == by_width(PX8, groups).rules[-1]
    assert mine == by_width(PX8, groups)
    assert mine.name == str(groups)


def test_two_splits_within_each_other_have_a_name_of_both():
    assert by_depth(PX8, [3], 2).within(by_width(PX8, 1)).name == "depth4x2"
    assert by_depth(PX8, [3], 2).within(by_width(PX8, 2)).name == "2-depth4x2"
    assert by_width(PX8, 3).within(by_width(PX8, 2)).name == "3"
    assert one_shot(MACRO).within(by_choice(MACRO, ["0 block 0"])).name == "choice0block0-1"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((EVERYTHING,), "split mine has 1 rules, expected 25, one for each place and one for the head"),
        ((Rule((), {(): 1}),) * 25, r"split mine has the groups \[1\], expected 0, 1, ... without a gap"),
        ((Rule((), {(): "a"}),) * 25, r"split mine has the groups \['a'\]"),
    ],
)
def test_what_are_no_rules_is_refused(rules, message):
    with pytest.raises(InputError, match=message):
        Split(PX8, rules, "mine")


def test_splits_are_values():
    assert {by_width(PX8, 2): 1}[by_width(PX8, 2)] == 1
    assert by_width(PX8, 2) != by_width(TRACK1, 2)
    assert len({by_depth(PX8, [1], 2), by_depth(PX8, [1], 2), by_depth(PX8, [2], 2)}) == 2
