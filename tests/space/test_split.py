"""Splits: the rules, tables, refinement, and what is stored."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.errors import InputError
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_depth, by_width, explicit, split_of

TRACK1, PX8 = SPACES["track1"], SPACES["px8"]
STAGE3 = (176, 192, 208, 216, 232, 240, 256)
STAGE4 = (360, 384, 408, 432, 464, 488, 512)


def caps(split, stage):
    return tuple(width for width, _ in split.capacities(stage))


def members(split, stage):
    """The (width, depth) pairs of each group of a stage."""
    least, most = split.space.depths[stage]
    found = {}
    for width in split.space.widths(stage):
        for depth in range(least, most + 1):
            found.setdefault(split.group_of(stage, width, depth), set()).add((width, depth))
    return found


@st.composite
def splits(draw, space=PX8):
    """Any split of a space."""
    tables = []
    for stage, (least, most) in enumerate(space.depths):
        rows, columns = len(space.widths(stage)), most - least + 1
        drawn = draw(st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns))
        number = {group: index for index, group in enumerate(dict.fromkeys(drawn))}
        flat = [number[group] for group in drawn]
        tables.append([flat[row * columns : (row + 1) * columns] for row in range(rows)])
    return explicit(space, tables, "table-drawn")


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
    assert [caps(by_width(TRACK1, groups), stage) for stage in range(4)] == expected


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
@pytest.mark.parametrize("groups", range(1, 8))
def test_the_group_of_a_width_is_the_smallest_cap_that_holds_it(space, groups):
    split = by_width(space, groups)
    for stage, (_, most) in enumerate(space.depths):
        for width in space.widths(stage):
            cap, blocks = split.capacities(stage)[split.group_of(stage, width, most)]
            assert cap == min(cap for cap in caps(split, stage) if cap >= width)
            assert blocks == most


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_more_groups_by_width_refine_fewer(space):
    for groups in range(1, 7):
        assert by_width(space, groups + 1).refines(by_width(space, groups))
        assert not by_width(space, groups).refines(by_width(space, groups + 1))


@pytest.mark.parametrize("groups", [0, 8])
def test_an_impossible_number_of_groups_is_refused(groups):
    with pytest.raises(InputError, match=r"expected 1\.\.7"):
        by_width(TRACK1, groups)


def test_a_split_by_depth_has_spans_of_depths_in_its_stages():
    split = by_depth(TRACK1, [2], 2)
    assert [len(split.capacities(stage)) for stage in range(4)] == [1, 1, 2, 1]
    assert [split.group_of(2, 256, depth) for depth in range(2, 9)] == [0, 0, 0, 0, 1, 1, 1]
    assert split.capacities(2) == ((256, 5), (256, 8))
    assert split.name == "depth3x2"


@pytest.mark.parametrize(("stages", "groups"), [([4], 2), ([-1], 2), ([0], 5), ([0], 0)])
def test_an_impossible_split_by_depth_is_refused(stages, groups):
    with pytest.raises(InputError, match="stage"):
        by_depth(TRACK1, stages, groups)


@given(splits())
def test_every_member_fits_its_group(split):
    for stage in range(4):
        for group, pairs in members(split, stage).items():
            assert split.capacities(stage)[group] == tuple(map(max, zip(*pairs, strict=True)))


@given(splits(), splits())
def test_within_is_the_coarsest_common_refinement(one, other):
    both = one.within(other)
    assert both.refines(one)
    assert both.refines(other)
    for stage in range(4):
        ours = [set(pairs) for pairs in members(both, stage).values()]
        cells = [a & b for a in members(one, stage).values() for b in members(other, stage).values()]
        assert sorted(map(sorted, ours)) == sorted(sorted(cell) for cell in cells if cell)


@given(splits(), splits())
def test_refines_means_that_no_group_has_members_of_two(child, parent):
    homes = all(
        any(pairs <= home for home in members(parent, stage).values())
        for stage in range(4)
        for pairs in members(child, stage).values()
    )
    assert child.refines(parent) == homes


def test_a_split_that_joins_groups_is_refused():
    with pytest.raises(InputError, match="split 2 does not refine split depth1x2: group 0 of stage 1 joins members"):
        by_width(PX8, 2).parent_group(by_depth(PX8, [0], 2), 0, 0)


@given(splits())
def test_a_split_comes_back_from_json(split):
    again = split_of(PX8, json.loads(json.dumps(split.values())))
    assert (again, again.name) == (split, split.name)


@pytest.mark.parametrize("groups", range(1, 8))
def test_the_rule_by_width_is_stored_as_a_number(groups):
    assert by_width(PX8, groups).values() == {"groups": groups}
    assert explicit(PX8, by_width(PX8, groups).tables, "table-mine").name == str(groups)


def test_two_splits_within_each_other_have_a_name_of_both():
    assert by_depth(PX8, [3], 2).within(by_width(PX8, 1)).name == "depth4x2"
    assert by_depth(PX8, [3], 2).within(by_width(PX8, 2)).name == "2-depth4x2"
    assert by_width(PX8, 3).within(by_width(PX8, 2)).name == "3"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "has 0 tables, expected one for each of 4 stages"),
        (3, "expected for each stage a list of rows"),
        ({"tables": []}, "expected for each stage a list of rows"),
        ({}, "expected for each stage a list of rows"),
        ([1] * 4, "expected for each stage a list of rows"),
        ([["abcd"] * 6] * 4, "expected for each stage a list of rows"),
        ([[[0]]] * 4, "the table of stage 1 expects 6 rows, one for each output width, of 4 groups"),
        ([[[0, 0, 0, 2]] * 6] * 4, "the table of stage 1 has the groups [0, 2], expected 0, 1, ... without a gap"),
        ([[["a", 0, 0, 0]] * 6] * 4, "has the groups"),
    ],
)
def test_what_is_no_table_is_refused(tables, message):
    with pytest.raises(InputError) as caught:
        explicit(PX8, tables, "table-bad")
    assert message in str(caught.value)


def test_splits_are_values():
    assert {by_width(PX8, 2): 1}[by_width(PX8, 2)] == 1
    assert by_width(PX8, 2) != by_width(TRACK1, 2)
    assert isinstance(hash(by_depth(PX8, [1], 2)), int)
