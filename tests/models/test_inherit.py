"""Splitting groups changes no function and shares no memory."""

import random
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.subnet import extract, inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import by_width, one_shot
from fewshot_nas.space.split import shared as sharing
from studies.arms.splits import by_depth, by_table
from tests.kinds import BOTTLENECK, CHOICES, FINER, MACRO, PX8, named
from tests.rounding import assert_equal_but_for_rounding, terms

TINY = replace(
    BOTTLENECK,
    name="tiny",
    base_widths=(4, 8),
    ratios=(1.0, 0.75, 0.5),
    strides=(1, 2),
    pool_digits=(3, 3),
    depths=((1, 3), (2, 4)),
    resolution=4,
)
LARGEST, SMALLEST = (PX8.extreme(PX8.all_options, largest=each) for each in (True, False))


pytestmark = pytest.mark.numeric

images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def assert_same_function(child, parent, arch, x):
    """The same weights exactly; so the logits differ by rounding at most, for kernels depend on memory strides."""
    for inherited, original in zip(child.tensors(arch).tensors(), parent.tensors(arch).tensors(), strict=True):
        assert torch.equal(inherited, original)
    assert_equal_but_for_rounding(child(x, arch), parent(x, arch), terms(parent.space, [arch], x), "the logits")


@pytest.mark.parametrize("chain", [(1, 2, 3, 4, 5, 6, 7), (1, 7), (1, 3, 7), (2, 5)])
@torch.no_grad()
def test_every_logit_is_kept(shared, chain):
    rng = random.Random(0)
    archs = [SMALLEST, LARGEST, *(random_arch(PX8, rng) for _ in range(4))]
    parent = shared("px8", chain[0])
    splits = [by_width(PX8, groups) for groups in chain[1:]]
    for child in accumulate(splits, inherit, initial=parent):
        for arch in archs:
            assert_same_function(child, parent, arch, images)


@pytest.mark.parametrize(("parent", "split"), FINER, ids=named)
@torch.no_grad()
def test_every_logit_is_kept_in_every_kind_of_space(fresh, parent, split):
    """With the same strides, the same kernels run, and the difference is 0."""
    parent = fresh(parent)
    child = inherit(parent, split)
    for seed in range(6):
        arch = random_arch(split.space, random.Random(seed))
        assert_same_function(child, parent, arch, images)
        assert torch.equal(extract(child, arch)(images), extract(parent, arch)(images))


def test_choices_that_shared_get_the_centre_of_their_kernels(shared):
    """The end of a phase in which all choices of a block share: choice 0 has kernel 3, choice 2 has kernel 7."""
    parent = shared(sharing(CHOICES))
    child = inherit(parent, one_shot(CHOICES))
    (small, large), common = [child.stored((1, group)).main[1].conv.weight for group in (0, 2)], parent.stored((1, 0))
    common = common.main[1].conv.weight
    assert (*common.shape,) == (12, 1, 7, 7)
    assert torch.equal(small, common[:8, :, 2:5, 2:5])
    assert torch.equal(large, common[:4])


def random_split(seed):
    """Any split of the tiny space into up to three groups a stage."""
    rng, tables = random.Random(seed), []
    for stage, (least, most) in enumerate(TINY.depths):
        rows = {TINY.width(stage, digit) for digit in range(1, TINY.digits + 1)}
        table = [[rng.randrange(3) for _ in range(least, most + 1)] for _ in rows]
        used = sorted({group for row in table for group in row})
        tables.append([[used.index(group) for group in row] for row in table])
    return by_table(TINY, tables, f"table-{seed}")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 2**32), st.integers(0, 2**32))
@torch.no_grad()
def test_every_logit_is_kept_in_any_finer_split(first, second, seed):
    coarse, other = random_split(first), random_split(second)
    torch.manual_seed(0)
    parent = Supernet(coarse, num_classes=3)
    for parameter in parent.parameters():
        torch.nn.init.normal_(parameter)
    fine, arch = other.within(coarse), random_arch(TINY, random.Random(seed))
    assume(not coarse.refines(fine))
    assert_same_function(inherit(parent, fine), parent, arch, torch.randn(2, 1, 4, 4))


def test_a_split_that_does_not_refine_its_parents_is_refused(shared):
    parent = inherit(shared("px8", 1), by_depth(PX8, [0], 2))
    with pytest.raises(InputError, match="split 2 does not refine split depth1x2"):
        inherit(parent, by_width(PX8, 2))


@torch.no_grad()
def test_every_logit_is_kept_at_full_width(shared):
    parent, arch = shared("track1", 2), random_arch(PX8, random.Random(1))
    x = torch.randn(2, 3, 32, 32)
    assert_same_function(inherit(parent, by_width(parent.space, 3)), parent, arch, x)


def test_no_memory_is_shared(shared):
    parent = shared("px8", 2)
    child = inherit(parent, by_width(parent.space, 4))
    pointers = [p.untyped_storage().data_ptr() for p in (*parent.parameters(), *child.parameters())]
    assert len(set(pointers)) == len(pointers)


def test_the_child_has_its_groups_and_trains(shared):
    child = inherit(shared("px8", 1), by_width(shared("px8", 1).space, 5))
    assert child.split.groups == len(child.heads) == 5
    assert child.split == by_width(PX8, 5)
    assert all(parameter.requires_grad for parameter in child.parameters())


def test_no_random_number_is_drawn(shared):
    before = torch.get_rng_state()
    inherit(shared("px8", 1), by_width(shared("px8", 1).space, 2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("groups", [0, 1, 2, 8])
def test_only_a_valid_larger_number_of_groups_is_a_split(shared, groups):
    with pytest.raises(InputError, match="groups"):
        inherit(shared("px8", 2), by_width(shared("px8", 2).space, groups))


def test_a_split_of_another_space_is_refused(shared):
    with pytest.raises(InputError, match="split 2 is one of space px8, expected small macro_quarter"):
        inherit(shared(one_shot(MACRO)), by_width(PX8, 2))
    with pytest.raises(InputError, match="split shared has no more groups than the parent's split 1, expected more"):
        inherit(shared(one_shot(CHOICES)), sharing(CHOICES))
