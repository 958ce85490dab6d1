"""One network, every subnet: no state, separate groups, any number format and memory layout."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fewshot_nas.models.layers import ResidualBlock
from fewshot_nas.models.slicing import leading, run_subnet
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import largest, random_arch, smallest
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_width
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8 = SPACES["px8"]

archs = st.integers(0, 2**32).map(lambda seed: random_arch(PX8, random.Random(seed)))
images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def touched(supernet: Supernet, arch: Arch) -> set[str]:
    """Names of the parameters that a backward pass through one subnet reaches."""
    supernet.zero_grad()
    supernet(images, arch).square().sum().backward()
    return {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}


def homes(space: str, groups: int, arch: Arch) -> set[tuple[str, ...]]:
    """Where a subnet lives by the rule in words: (stage, group, block) and the classifier's group."""
    places = set()
    for stage in range(4):
        widths = sorted({SPACES[space].width(stage, digit) for digit in range(1, 8)})
        caps = widths[max(0, len(widths) - groups) :]
        out = SPACES[space].width(stage, arch.outs[stage])
        group = next(index for index, cap in enumerate(caps) if cap >= out)
        places |= {(str(stage), str(group), str(block)) for block in range(arch.depths[stage])}
    return places | {("heads", str(group))}


@settings(deadline=None, max_examples=6)
@given(first=archs, second=archs)
def test_archs_run_in_any_order(shared, first, second):
    supernet = shared("px8", 3)
    with torch.no_grad():
        before, between, after = (supernet(images, arch) for arch in (first, second, first))
    assert torch.equal(before, after)
    assert first == second or not torch.equal(before, between)


@pytest.mark.parametrize("groups", [1, 2, 4, 7])
@settings(deadline=None, max_examples=5)
@given(arch=archs)
def test_a_subnet_touches_exactly_its_groups(shared, groups, arch):
    split = [name.split(".") for name in touched(shared("px8", groups), arch)]
    places = {tuple(parts[1:4]) if parts[0] == "stages" else tuple(parts[:2]) for parts in split}
    assert places - {("stem", "conv"), ("stem", "norm")} == homes("px8", groups, arch)


@pytest.mark.parametrize("groups", [1, 3, 7])
def test_gradients_outside_the_slices_are_zero(shared, groups):
    supernet, arch = shared("px8", groups), smallest(PX8)
    touched(supernet, arch)
    inside = 0
    for tensor in supernet.weights(arch, lambda parameter, *sizes: leading(parameter.grad, *sizes)).tensors():
        inside += int(tensor.count_nonzero())
        tensor.zero_()
    assert inside > 0
    assert not any(parameter.grad.any() for parameter in supernet.parameters() if parameter.grad is not None)


def test_training_one_group_leaves_the_others_alone(fresh):
    supernet = fresh("px8", 3)
    before = {name: parameter.clone() for name, parameter in supernet.named_parameters()}
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(2):
        names = touched(supernet, largest(PX8))
        optimizer.step()
    changed = {name for name, parameter in supernet.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == names
    assert {name.split(".")[2] for name in changed if name.startswith("stages")} == {"2"}


def test_a_view_chooses_what_is_differentiated(shared):
    supernet, arch = shared("px8", 2), random_arch(PX8, random.Random(3))
    touched(supernet, arch)
    expected = supernet.weights(arch, lambda parameter, *sizes: leading(parameter.grad, *sizes)).tensors()
    leaves = supernet.weights(arch, lambda parameter, *sizes: leading(parameter.detach(), *sizes).requires_grad_())
    run_subnet(leaves, images).square().sum().backward()
    assert all(torch.equal(leaf.grad, gradient) for leaf, gradient in zip(leaves.tensors(), expected, strict=True))


def test_evaluation_mode_changes_nothing_but_drops_nothing(fresh):
    supernet = fresh("px8", 1)
    plain = supernet(images, largest(PX8))
    dropped = supernet(images, largest(PX8), dropout=0.5, drop_connect=0.5)
    still = supernet.eval()(images, largest(PX8), dropout=0.5, drop_connect=0.5)
    assert torch.equal(plain, still)
    assert not torch.equal(plain, dropped)


def test_drop_connect_is_applied(fresh):
    supernet = fresh("px8", 1)
    logits = supernet(images, largest(PX8))
    assert not torch.equal(logits, supernet(images, largest(PX8), drop_connect=0.5))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_formats_give_the_extracted_subnets_logits(fresh, memory_format, bfloat16):
    supernet, arch = fresh("px8", 2).to(memory_format=memory_format), random_arch(PX8, random.Random(5))
    x = images.to(memory_format=memory_format)
    subnet = extract(supernet, arch).to(memory_format=memory_format)
    reference = supernet(x, arch)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = supernet(x, arch)
        assert logits.dtype is (torch.bfloat16 if bfloat16 else torch.float32)
        extracted = subnet(x)
    # In bfloat16 products add up in float32, and each of a block's four layers rounds its output once.
    length = 4 * len(supernet.space.blocks(arch)) if bfloat16 else terms(supernet.space, [arch], x)
    assert_equal_but_for_rounding(logits, extracted, length, "the logits")
    torch.testing.assert_close(logits.float(), reference, rtol=0.1, atol=0.1)


def test_bfloat16_gradients_arrive_in_float32(fresh):
    supernet = fresh("px8", 2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = supernet(images, smallest(PX8)).float().square().sum()
    loss.backward()
    assert supernet.stem.conv.weight.grad.dtype is torch.float32
    assert supernet.stem.conv.weight.grad.isfinite().all()


def test_it_runs_on_the_device_it_is_on(fresh):
    supernet = fresh("px8", 2).to("meta")
    assert supernet(images.to("meta"), largest(PX8)).device.type == "meta"


def test_groups_are_as_wide_as_their_caps():
    supernet = Supernet(by_width(PX8, 3), num_classes=10)
    for stage, groups in enumerate(supernet.stages):
        assert [len(group) for group in groups] == [(5, 5, 8, 5)[stage]] * len(groups)
        caps = tuple(width for width, _ in by_width(PX8, 3).capacities(stage))
        assert tuple(group[-1].conv2.norm.num_features for group in groups) == caps
        assert {block.conv1.norm.num_features for group in groups for block in group} == {PX8.width(stage, 1)}
    assert tuple(head.in_features for head in supernet.heads) == tuple(
        width for width, _ in by_width(PX8, 3).capacities(3)
    )


@pytest.mark.parametrize(("space", "stages"), [("track1", {1, 2, 3}), ("px8", {1, 2, 3})])
def test_shortcuts_exist_only_where_a_shape_can_change(space, stages):
    with torch.device("meta"):
        supernet = Supernet(by_width(SPACES[space], 2), num_classes=10)
    found = {
        (stage, number)
        for stage, groups in enumerate(supernet.stages)
        for group in groups
        for number, block in enumerate(group)
        if not isinstance(block.shortcut, nn.Identity)
    }
    assert found == {(stage, 0) for stage in stages}


def test_blocks_start_as_their_shortcuts():
    supernet = Supernet(by_width(PX8, 2), num_classes=10)
    for block in supernet.modules():
        if isinstance(block, ResidualBlock):
            assert not block.conv2.norm.weight.any()
            assert (block.conv1.norm.weight == 1).all()


def test_there_are_no_buffers():
    assert not list(Supernet(by_width(PX8, 2), num_classes=10).buffers())
