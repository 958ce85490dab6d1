"""Splitting groups changes no function and shares no memory."""

import random
from itertools import accumulate

import pytest
import torch

from fewshot_nas.errors import InputError
from fewshot_nas.models.inherit import inherit
from fewshot_nas.space.sampling import largest, random_arch, smallest
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def assert_same_function(child, parent, arch, x):
    """The same weights exactly; so the logits differ by rounding at most, for kernels depend on memory strides."""
    for inherited, original in zip(child.weights(arch).tensors(), parent.weights(arch).tensors(), strict=True):
        assert torch.equal(inherited, original)
    assert_equal_but_for_rounding(child(x, arch), parent(x, arch), terms(parent.space, [arch], x), "the logits")


@pytest.mark.parametrize("chain", [(1, 2, 3, 4, 5, 6, 7), (1, 7), (1, 3, 7), (2, 5)])
@torch.no_grad()
def test_every_logit_is_kept(shared, chain):
    rng = random.Random(0)
    archs = [smallest(), largest(), *(random_arch(rng) for _ in range(10))]
    parent = shared("px8", chain[0])
    for child in accumulate(chain[1:], inherit, initial=parent):
        for arch in archs:
            assert_same_function(child, parent, arch, images)


@torch.no_grad()
def test_every_logit_is_kept_at_full_width(shared):
    parent, arch = shared("track1", 2), random_arch(random.Random(1))
    x = torch.randn(2, 3, 32, 32)
    assert_same_function(inherit(parent, 3), parent, arch, x)


def test_no_memory_is_shared(shared):
    parent = shared("px8", 2)
    child = inherit(parent, 4)
    pointers = [p.untyped_storage().data_ptr() for p in (*parent.parameters(), *child.parameters())]
    assert len(set(pointers)) == len(pointers)


def test_the_child_has_its_groups_and_trains(shared):
    child = inherit(shared("px8", 1), 5)
    assert child.groups == len(child.heads) == 5
    assert all(parameter.requires_grad for parameter in child.parameters())


def test_no_random_number_is_drawn(shared):
    before = torch.get_rng_state()
    inherit(shared("px8", 1), 2)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("groups", [0, 1, 2, 8])
def test_only_a_valid_larger_number_of_groups_is_a_split(shared, groups):
    with pytest.raises(InputError, match="groups"):
        inherit(shared("px8", 2), groups)
