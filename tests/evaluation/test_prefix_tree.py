"""The plan: every network once, nothing computed that is not needed, costs as predicted."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.evaluation.prefix_tree import Leaf, make_plan, peak_elements
from fewshot_nas.space.block import Placed
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import by_width, one_shot
from tests.kinds import GATED, SPLITS, few

PX8, TRACK1 = SPACES["px8"], SPACES["track1"]
LARGEST = TRACK1.extreme(TRACK1.all_options, largest=True)
# Few seeds and few options, so that equal archs, equal networks and common prefixes occur.
seed_lists = st.lists(st.integers(0, 30), min_size=1, max_size=40)


def archs_of(space, seeds):
    return [random_arch(space, random.Random(seed), few(space)) for seed in seeds]


arch_lists = seed_lists.map(lambda seeds: archs_of(PX8, seeds))


@st.composite
def cases(draw):
    """A split of any space, and archs."""
    split = draw(st.sampled_from((*SPLITS, *map(one_shot, SPACES.values()))))
    return split, archs_of(split.space, draw(seed_lists))


def network(split, arch):
    """The blocks and the head of an arch, with their homes."""
    return (*split.network(arch), split.head(arch))


def paths(unit):
    """The networks of a unit, read off its steps as a walk would."""
    branch, found = [], {}
    for step in unit.steps:
        del branch[step.level :]
        if isinstance(step, Leaf):
            found[step.number] = (*branch, tuple(step.ending))
        else:
            branch.append(step.placed)
    return found


@given(cases(), st.integers(1, 10))
def test_walks_reach_every_arch_once(case, unit_networks):
    """With its own blocks, each computed with the tensors of its own group, and its own head."""
    split, archs = case
    plan = make_plan(split, archs, unit_networks=unit_networks)
    seen = []
    for unit in plan.units:
        assert len(unit.members) <= unit_networks
        assert len({path[0] for path in paths(unit).values()}) == 1
        assert sorted(paths(unit)) == list(range(len(unit.members)))
        for leaf, path in paths(unit).items():
            for index in unit.members[leaf]:
                assert network(split, archs[index]) == path
                seen.append(index)
    assert sorted(seen) == list(range(len(archs)))
    assert plan.networks == len({network(split, arch) for arch in archs})


@given(cases())
def test_what_a_step_leaves_out_an_elder_sibling_has_computed(case):
    """With the same tensors, from the same input, as wide or wider; and it is marked, so that it is kept."""
    split, archs = case
    for unit in make_plan(split, archs, unit_networks=100).units:
        levels = {}  # by level: the step that computed the first operation, the shortcut's, and the step before
        for step in unit.steps:
            for level in [level for level in levels if level > step.level]:
                del levels[level]
            if isinstance(step, Leaf):
                levels.pop(step.level, None)
                continue
            first, shortcut, before = levels.get(step.level, (None, None, None))
            if step.hidden:
                first = step
            else:
                assert first.placed.home == step.placed.home
                assert before.shared
                assert first.shared
                ours, theirs = step.block.main[0], first.ops()[0]
                assert ours.out <= theirs.out
                assert theirs._replace(out=ours.out) == ours
                assert not ours.squeeze
                assert ours.groups == 1
            if step.shortcut:
                assert step.block.shortcut
                shortcut = step
            elif step.block.shortcut:
                assert shortcut.placed.home == step.placed.home
                assert shortcut.block.shortcut == step.block.shortcut
                assert before.shared
            levels[step.level] = first, shortcut, step


@given(cases())
def test_a_unit_for_each_network_shares_nothing(case):
    split, archs = case
    plan, space = make_plan(split, archs, unit_networks=1, num_classes=10), split.space
    distinct = {network(split, arch): arch for arch in archs}.values()
    assert plan.macs == sum(space.cost(arch, num_classes=10).macs for arch in distinct)
    assert plan.plain_macs == sum(space.cost(arch, num_classes=10).macs for arch in archs)


@given(arch_lists, st.integers(1, 7))
def test_larger_units_never_cost_more_than_none(archs, groups):
    plan = make_plan(by_width(PX8, groups), archs, unit_networks=100)
    assert plan.macs <= make_plan(by_width(PX8, groups), archs, unit_networks=1).macs <= plan.plain_macs


def two_per_stage(outs=(1, 1, 1, 1), first=1, last=1):
    """An arch of two blocks in each stage; the first mid digit of all, and the last."""
    return TRACK1.arch(outs, ((first, 1), (1, 1), (1, 1), (1, last)))


def test_siblings_share_the_widest_first_convolution():
    narrow, wide = two_per_stage(last=7), two_per_stage(last=1)
    plan = make_plan(by_width(TRACK1, 1), [narrow, wide], unit_networks=2)
    area, stage4 = 7 * 7, 512
    conv1, conv2 = 9 * stage4 * 512 * area, 9 * (360 + 512) * stage4 * area
    head = 2 * 512 * 1000
    shared = TRACK1.cost(wide).macs - 9 * 2 * stage4 * 512 * area - 512 * 1000
    assert plan.macs == shared + conv1 + conv2 + head


def test_groups_keep_siblings_apart():
    # Out digits 1 and 2 of the last stage are 512 and 488 channels: one group of one, two of two.
    archs = [two_per_stage((1, 1, 1, out)) for out in (1, 2)]
    one, two = (make_plan(by_width(TRACK1, groups), archs, unit_networks=2).macs for groups in (1, 2))
    assert two - one == 9 * 256 * 512 * 7 * 7


def test_a_gate_or_a_depthwise_convolution_is_never_shared():
    """A wider sibling has another squeeze-and-excitation, whose outputs do not contain the narrower one's."""
    base = GATED.extreme(GATED.all_options, largest=True)
    archs = [(*base[:6], mid) for mid in (1, 2, 3)]
    (unit,) = make_plan(one_shot(GATED), archs, unit_networks=3).units
    last = [step for step in unit.steps if not isinstance(step, Leaf) and step.placed.home[0] == 4]
    assert [(step.hidden, step.shared, step.shortcut) for step in last] == [(mid, False, True) for mid in (4, 8, 12)]


def test_a_network_that_ends_where_another_goes_on_is_a_leaf_before_it():
    """Identities make one macro network the beginning of another, but for the head that follows."""
    space = SPACES["macro"]
    plan = make_plan(
        one_shot(space), [space.decode(code) for code in ("00011000", "00010100", "00010000")], unit_networks=9
    )
    (unit,) = plan.units
    assert len(plan.units) == 1
    assert plan.networks == len(paths(unit)) == 3
    assert sum(isinstance(step, Leaf) for step in unit.steps) == 3
    assert all(isinstance(node, Placed) for path in paths(unit).values() for node in path[:-1])


def test_archs_with_equal_widths_are_one_network():
    # Digits 1 and 2 of the first stage both are 64 channels.
    plan = make_plan(by_width(TRACK1, 1), [two_per_stage(first=mid) for mid in (1, 2)], unit_networks=2)
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
    # One network: all inputs of blocks are held, and in the last one the first convolution's output; the second
    # convolution has a copy of that and its own output, before and after the norm.
    (unit,) = make_plan(by_width(TRACK1, 1), [LARGEST], unit_networks=1).units
    held = 3 * 224**2 + 6 * 64 * 56**2 + 5 * 128 * 28**2 + 8 * 256 * 14**2 + 4 * 512 * 7**2
    assert peak_elements(TRACK1, unit) == held + 4 * 512 * 7**2


@pytest.mark.golden
@pytest.mark.parametrize(
    ("archs", "share"), [pytest.param(45_000, 0.52, marks=pytest.mark.slow), (5625, 0.585)], ids=["pool", "part"]
)
def test_a_part_shares_two_fifths_and_the_whole_pool_almost_half(archs, share):
    plan = make_plan(by_width(TRACK1, 7), list(make_pool(PX8, 0, archs).values()), unit_networks=128)
    assert plan.archs == plan.networks == archs
    assert plan.macs / plan.plain_macs == pytest.approx(share, abs=0.015)
