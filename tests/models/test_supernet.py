"""One network, every subnet: no state, separate groups, any number format and memory layout."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import BlockLayers, HeadLayers, Supernet, part
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Arch, random_arch
from fewshot_nas.space.split import by_width
from tests.kinds import ALL, SPLITS, named
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8 = SPACES["px8"]
LARGEST, SMALLEST = (PX8.extreme(PX8.all_options, largest=each) for each in (True, False))

archs = st.integers(0, 2**32).map(lambda seed: random_arch(PX8, random.Random(seed)))
images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def touched(supernet: Supernet, arch: Arch) -> set[str]:
    """Names of the parameters that a backward pass through one subnet reaches."""
    supernet.zero_grad()
    supernet(images, arch).square().sum().backward()
    return {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}


def homes(names: set[str]) -> set[tuple[int, int]]:
    """Place and group of the parameters with these names."""
    return {tuple(map(int, name.split(".")[1].split("_"))) for name in names}


def expected_homes(groups: int, arch: Arch) -> set[tuple[int, int]]:
    """Where a subnet of px8 lives by the rule in words: (place, group) of its stem, its blocks and its classifier."""
    found = {(0, 0)}
    for stage, first in enumerate((1, 6, 11, 19)):
        widths = sorted({PX8.width(stage, digit) for digit in range(1, 8)})
        caps = widths[max(0, len(widths) - groups) :]
        out = PX8.width(stage, arch[4 + stage])
        group = next(index for index, cap in enumerate(caps) if cap >= out)
        found |= {(first + position, group) for position in range(arch[stage])}
    return found | {(24, group)}


def gradients(parameter, *sizes):
    return part(parameter.grad, *sizes)


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
    assert homes(touched(shared("px8", groups), arch)) == expected_homes(groups, arch)


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_a_subnet_of_any_space_touches_exactly_what_it_uses(shared, split):
    """Its homes, inside of its slices, and nowhere else."""
    supernet, space = shared(split), split.space
    for arch in (random_arch(space, random.Random(0)), space.smallest):
        names = touched(supernet, arch)
        assert homes(names) == {*(home for _, home in split.network(arch)), split.head(arch)[1]}
        for tensor in supernet.tensors(arch, gradients).tensors():
            assert tensor.isfinite().all()
            tensor.zero_()
        assert not any(parameter.grad.any() for parameter in supernet.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("groups", [1, 3, 7])
def test_gradients_outside_the_slices_are_zero(shared, groups):
    supernet, arch = shared("px8", groups), SMALLEST
    touched(supernet, arch)
    inside = 0
    for tensor in supernet.tensors(arch, gradients).tensors():
        inside += int(tensor.count_nonzero())
        tensor.zero_()
    assert inside > 0
    assert not any(parameter.grad.any() for parameter in supernet.parameters() if parameter.grad is not None)


def test_training_one_group_leaves_the_others_alone(fresh):
    supernet = fresh("px8", 3)
    before = {name: parameter.clone() for name, parameter in supernet.named_parameters()}
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for _ in range(2):
        names = touched(supernet, LARGEST)
        optimizer.step()
    changed = {name for name, parameter in supernet.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == names
    assert homes(changed) == {(0, 0), *((place, 2) for place in range(1, 25))}


def test_a_view_chooses_what_is_differentiated(shared):
    supernet, arch = shared("px8", 2), random_arch(PX8, random.Random(3))
    touched(supernet, arch)
    expected = supernet.tensors(arch, gradients).tensors()
    leaves = supernet.tensors(arch, lambda parameter, *sizes: part(parameter.detach(), *sizes).requires_grad_())
    run_subnet(leaves, images).square().sum().backward()
    assert all(torch.equal(leaf.grad, gradient) for leaf, gradient in zip(leaves.tensors(), expected, strict=True))


def test_evaluation_mode_changes_nothing_but_drops_nothing(fresh):
    supernet = fresh("px8", 1)
    plain = supernet(images, LARGEST)
    dropped = supernet(images, LARGEST, dropout=0.5, drop_connect=0.5)
    still = supernet.eval()(images, LARGEST, dropout=0.5, drop_connect=0.5)
    assert torch.equal(plain, still)
    assert not torch.equal(plain, dropped)


def test_drop_connect_is_applied(fresh):
    supernet = fresh("px8", 1)
    logits = supernet(images, LARGEST)
    assert not torch.equal(logits, supernet(images, LARGEST, drop_connect=0.5))


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
        loss = supernet(images, SMALLEST).float().square().sum()
    loss.backward()
    assert supernet.stored((0, 0)).main[0].conv.weight.grad.dtype is torch.float32
    assert supernet.stored((0, 0)).main[0].conv.weight.grad.isfinite().all()


def test_it_runs_on_the_device_it_is_on(fresh):
    supernet = fresh("px8", 2).to("meta")
    assert supernet(images.to("meta"), LARGEST).device.type == "meta"


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_groups_are_as_large_as_their_largest_members(shared, split):
    supernet = shared(split)
    for home, block in split.homes.items():
        layers = supernet.stored(home)
        assert isinstance(layers, BlockLayers)
        assert [
            (*layer.conv.weight.shape, *layer.conv.stride, layer.conv.groups, layer.reduce is not None)
            for layer in (*layers.main, *layers.shortcut)
        ] == [
            (op.out, op.inputs // op.groups, op.kernel, op.kernel, op.stride, op.stride, op.groups, op.squeeze > 0)
            for op in block.ops()
        ]
    for home, head in split.heads.items():
        layers = supernet.stored(home)
        assert isinstance(layers, HeadLayers)
        assert (layers.linear.in_features, layers.hidden is not None) == (head.hidden or head.inputs, head.hidden > 0)
    assert len(supernet.blocks) + len(supernet.heads) == len(split.homes) + len(split.heads)


def test_groups_are_as_wide_as_their_caps(shared):
    supernet = shared("px8", 3)
    for stage, first in enumerate((1, 6, 11, 19)):
        caps = sorted({PX8.width(stage, digit) for digit in range(1, 8)})[-3:]
        for position in range((5, 5, 8, 5)[stage]):
            blocks = [supernet.stored((first + position, group)) for group in range(len(caps))]
            assert [block.main[1].norm.num_features for block in blocks] == caps
            assert {block.main[0].norm.num_features for block in blocks} == {PX8.width(stage, 1)}
    assert [supernet.stored((24, group)).linear.in_features for group in range(3)] == caps


@pytest.mark.parametrize("space", ["track1", "px8"])
def test_shortcuts_exist_only_where_a_shape_can_change(space):
    with torch.device("meta"):
        supernet = Supernet(by_width(SPACES[space], 2), num_classes=10)
    found = {name.split(".")[1].split("_")[0] for name, _ in supernet.named_parameters() if "shortcut" in name}
    assert found == {"6", "11", "19"}  # the first block of each stage but the first, which is as wide as the stem


@pytest.mark.parametrize("space", ALL, ids=lambda space: space.name)
def test_blocks_start_as_their_shortcuts(space):
    """And those without one with norms of 1."""
    supernet = Supernet(by_width(space, 1), num_classes=10)
    for module in supernet.blocks.values():
        if not module.main:  # an identity
            continue
        *others, last = module.main
        assert all((layer.norm.weight == 1).all() for layer in (*others, *module.shortcut))
        assert (last.norm.weight == (module.block.shortcut is None or not space.starts_as_shortcuts)).all()
        assert not any(layer.norm.bias.any() for layer in module.main)


def test_there_are_no_buffers():
    assert not list(Supernet(by_width(PX8, 2), num_classes=10).buffers())
