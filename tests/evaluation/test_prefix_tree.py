"""The plan: every network once, nothing computed that is not needed, costs as predicted."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.evaluation.prefix_tree import make_plan, peak_elements
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.sampling import largest, random_arch
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_depth, by_width

PX8 = SPACES["px8"]

TRACK1 = SPACES["track1"]
# Few seeds and few digits, so that equal archs, equal networks and common prefixes occur.
seed_lists = st.lists(st.integers(0, 30), min_size=1, max_size=40)


def archs_of(space, seeds):
    return [random_arch(space, random.Random(seed), (2,) * space.stages) for seed in seeds]


arch_lists = seed_lists.map(lambda seeds: archs_of(PX8, seeds))


@st.composite
def cases(draw):
    """A split of any space, by width or depth or both, and archs."""
    space = SPACES[draw(st.sampled_from(sorted(SPACES)))]
    split = by_width(space, draw(st.integers(1, 7)))
    stages = draw(st.sets(st.integers(0, space.stages - 1)))
    return by_depth(space, sorted(stages), 3).within(split), archs_of(space, draw(seed_lists))


def paths(unit):
    """The networks of a unit, read off its steps as a walk would."""
    branch, found = [], {}
    for step in unit.steps:
        del branch[step.level :]
        branch.append(step.block)
        if step.leaf >= 0:
            found[step.leaf] = tuple(branch)
    return found


@given(cases(), st.integers(1, 10))
def test_walks_reach_every_arch_once(case, unit_networks):
    split, archs = case
    space, plan = split.space, make_plan(split, archs, unit_networks=unit_networks)
    seen = []
    for unit in plan.units:
        assert len(unit.members) <= unit_networks
        for leaf, path in paths(unit).items():
            assert path[0].inputs == unit.stem
            for index in unit.members[leaf]:
                assert space.blocks(archs[index]) == path
                seen.append(index)
    assert sorted(seen) == list(range(len(archs)))
    assert plan.networks == len({space.blocks(arch) for arch in archs})


@given(cases())
def test_every_block_of_a_network_is_computed_in_its_own_group(case):
    split, archs = case
    for unit in make_plan(split, archs, unit_networks=100).units:
        branch = []
        for step in unit.steps:
            del branch[step.level :]
            branch.append((step.block.stage, step.group))
            for index in unit.members[step.leaf] if step.leaf >= 0 else ():
                depths = archs[index].depths
                expected = [
                    (block.stage, split.group_of(block.stage, block.out, depths[block.stage]))
                    for block in split.space.blocks(archs[index])
                ]
                assert branch == expected


@given(cases())
def test_what_a_step_leaves_out_an_elder_sibling_has_computed(case):
    split, archs = case
    for unit in make_plan(split, archs, unit_networks=100).units:
        hidden, shortcut = {}, {}  # by level: (stage, group, channels) and output width
        for step in unit.steps:
            block = step.block
            for level in [level for level in hidden if level > step.level]:
                hidden.pop(level)
                shortcut.pop(level, None)
            if step.hidden:
                hidden[step.level] = (block.stage, step.group, step.hidden)
            stage, group, channels = hidden[step.level]
            assert (stage, group) == (block.stage, step.group)
            assert block.mid <= channels
            if step.shortcut:
                assert block.projects
                shortcut[step.level] = (block.stage, step.group, block.out)
            assert not block.projects or shortcut[step.level] == (block.stage, step.group, block.out)


@given(arch_lists, st.integers(1, 7))
def test_a_unit_for_each_network_shares_nothing(archs, groups):
    plan = make_plan(by_width(PX8, groups), archs, unit_networks=1, num_classes=10)
    distinct = {PX8.blocks(arch): arch for arch in archs}.values()
    assert plan.macs == sum(total_cost(PX8, arch, num_classes=10).macs for arch in distinct)
    assert plan.plain_macs == sum(total_cost(PX8, arch, num_classes=10).macs for arch in archs)


@given(arch_lists, st.integers(1, 7))
def test_larger_units_never_cost_more_than_none(archs, groups):
    plan = make_plan(by_width(PX8, groups), archs, unit_networks=100)
    assert plan.macs <= make_plan(by_width(PX8, groups), archs, unit_networks=1).macs <= plan.plain_macs


def test_siblings_share_the_widest_first_convolution():
    narrow, wide = (Arch((1, 1, 1, 1), ((1, 1), (1, 1), (1, 1), (1, mid))) for mid in (7, 1))
    plan = make_plan(by_width(TRACK1, 1), [narrow, wide], unit_networks=2)
    area, stage4 = 7 * 7, 512
    conv1, conv2 = 9 * stage4 * 512 * area, 9 * (360 + 512) * stage4 * area
    head = 2 * 512 * 1000
    shared = total_cost(TRACK1, wide).macs - 9 * 2 * stage4 * 512 * area - 512 * 1000
    assert plan.macs == shared + conv1 + conv2 + head


def test_groups_keep_siblings_apart():
    # Out digits 1 and 2 of the last stage are 512 and 488 channels: one group of one, two of two.
    archs = [Arch((1, 1, 1, out), ((1, 1),) * 4) for out in (1, 2)]
    one, two = (make_plan(by_width(TRACK1, groups), archs, unit_networks=2).macs for groups in (1, 2))
    assert two - one == 9 * 256 * 512 * 7 * 7


def test_archs_with_equal_widths_are_one_network():
    # Digits 1 and 2 of the first stage both are 64 channels.
    archs = [Arch((1, 1, 1, 1), ((mid, 1), (1, 1), (1, 1), (1, 1))) for mid in (1, 2)]
    plan = make_plan(by_width(TRACK1, 1), archs, unit_networks=2)
    assert [unit.members for unit in plan.units] == [((0, 1),)]


@settings(deadline=None)
@given(arch_lists, st.integers(1, 7))
def test_a_plan_does_not_depend_on_the_order_of_the_archs(archs, groups):
    one, other = (make_plan(by_width(PX8, groups), each, unit_networks=5) for each in (archs, archs[::-1]))
    assert (one.networks, one.macs, one.plain_macs) == (other.networks, other.macs, other.plain_macs)
    members = [
        [
            {index if plan is one else len(archs) - 1 - index for each in unit.members for index in each}
            for unit in plan.units
        ]
        for plan in (one, other)
    ]
    assert members[0] == members[1]


def test_peak_memory_by_hand():
    # One network without shortcuts in the way: its peak is in the stem, convolution and norm.
    (unit,) = make_plan(by_width(TRACK1, 1), [largest(PX8)], unit_networks=1).units
    assert peak_elements(TRACK1, unit) >= 3 * 224 * 224 + 2 * 64 * 112 * 112
    # Later, all levels of the branch are held: input, hidden half and shortcut of each block.
    held = 64 * 56 * 56 * (1 + 2 * 5) + (128 * 28 * 28) * (1 + 2 * 5)
    assert held <= peak_elements(TRACK1, unit) <= 2 * held


@pytest.mark.golden
@pytest.mark.parametrize(
    ("archs", "share"), [pytest.param(45_000, 0.52, marks=pytest.mark.slow), (5625, 0.585)], ids=["pool", "part"]
)
def test_a_part_shares_two_fifths_and_the_whole_pool_almost_half(archs, share):
    plan = make_plan(by_width(TRACK1, 7), list(make_pool(PX8, 0, archs).values()), unit_networks=128)
    assert plan.archs == plan.networks == archs
    assert plan.macs / plan.plain_macs == pytest.approx(share, abs=0.015)
