"""Made-up files with the published names, for every way the public solution writes them."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import from_published, is_published, load_supernet
from fewshot_nas.models.supernet import BlockLayers, Layer, Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.split import by_width

PX28, TRACK1 = SPACES["px28"], SPACES["track1"]
DEPTHS = (5, 5, 8, 5)
ENDS = [PX28.extreme(PX28.all_options, largest=each) for each in (True, False)]


pytestmark = pytest.mark.numeric

Published = dict[str, Tensor]


def norm(key: str, width: int) -> Published:
    return {
        f"{key}.weight": torch.rand(width),
        f"{key}.bias": torch.randn(width),
        f"{key}.running_mean": torch.randn(width),
        f"{key}.running_var": torch.rand(width),
        f"{key}.num_batches_tracked": torch.tensor(7),
    }


def block(key: str, inputs: int, mid: int, out: int) -> Published:
    return {
        f"{key}.conv1.conv.weight": torch.randn(mid, inputs, 3, 3),
        **norm(f"{key}.bn1.bn", mid),
        f"{key}.conv2.conv.weight": torch.randn(out, mid, 3, 3),
        **norm(f"{key}.bn2.bn", out),
        f"{key}.short_conv.conv.weight": torch.randn(out, inputs, 1, 1),
        **norm(f"{key}.short_bn.bn", out),
        f"{key}.bn_tracking.7.running_mean": torch.randn(mid),
    }


def caps(space: ResNetSpace, groups: int, stage: int) -> list[int]:
    """Output widths of a stage's groups, by the rule in words: the largest ones."""
    widths = sorted({space.width(stage, digit) for digit in range(1, 8)})
    return widths[max(0, len(widths) - groups) :]


def published(space: ResNetSpace, groups: int, prefix: str = "") -> Published:
    """What the public solution would have saved."""
    torch.manual_seed(groups)
    full = [space.width(stage, 1) for stage in range(4)]
    kernel = (space.stem_kernel, space.stem_kernel)
    state = {"first_conv.conv.conv.weight": torch.randn(full[0], space.in_channels, *kernel)}
    state |= norm("first_conv.bn.bn", full[0])
    for stage, depth in enumerate(DEPTHS):
        for group, cap in enumerate(caps(space, groups, stage)):
            for index in range(depth):
                place = f"{stage}.{group}.{index}" if groups > 1 else f"{sum(DEPTHS[:stage]) + index}"
                inputs = cap if index else full[max(stage - 1, 0)]
                state |= block(f"blocks.{place}", inputs, full[stage], cap)
    for group, cap in enumerate(caps(space, groups, 3)):
        key = f"classifier_groups.{group}.linear.linear" if groups > 1 else "classifier.linear.linear"
        state |= {f"{key}.weight": torch.randn(5, cap), f"{key}.bias": torch.randn(5)}
    return {prefix + key: tensor for key, tensor in state.items()}


def by_hand(state: Published, space: ResNetSpace, groups: int) -> Supernet:
    """The same weights, put in their places one by one."""
    supernet = Supernet(by_width(space, groups), num_classes=5)
    with torch.no_grad():
        put(supernet.stored((0, 0)).main[0], state, "first_conv.conv.conv", "first_conv.bn.bn")
        for key, module in placed(supernet, groups):
            put(module.main[0], state, f"{key}.conv1.conv", f"{key}.bn1.bn")
            put(module.main[1], state, f"{key}.conv2.conv", f"{key}.bn2.bn")
            for shortcut in module.shortcut:
                put(shortcut, state, f"{key}.short_conv.conv", f"{key}.short_bn.bn")
        for group in range(len(caps(space, groups, 3))):
            key = f"classifier_groups.{group}.linear.linear" if groups > 1 else "classifier.linear.linear"
            head = supernet.stored((1 + sum(DEPTHS), group)).linear
            head.weight.copy_(state[f"{key}.weight"])
            head.bias.copy_(state[f"{key}.bias"])
    return supernet


def placed(supernet: Supernet, groups: int) -> Iterator[tuple[str, BlockLayers]]:
    for stage, depth in enumerate(DEPTHS):
        for group in range(len(caps(supernet.space, groups, stage))):
            for index in range(depth):
                over_all = sum(DEPTHS[:stage]) + index
                key = f"blocks.{stage}.{group}.{index}" if groups > 1 else f"blocks.{over_all}"
                yield key, supernet.stored((1 + over_all, group))


def put(layer: Layer, state: Published, conv_key: str, bn_key: str) -> None:
    # Inputs that no subnet uses are not kept.
    layer.conv.weight.copy_(state[f"{conv_key}.weight"][:, : layer.conv.in_channels])
    layer.norm.weight.copy_(state[f"{bn_key}.weight"])
    layer.norm.bias.copy_(state[f"{bn_key}.bias"])


def assert_same(found: Supernet, expected: Supernet, images: Tensor) -> None:
    """To the bit: the same tensors, so the same logits."""
    assert found.split == expected.split
    ours, theirs = found.state_dict(), expected.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    for arch in ENDS:
        assert torch.equal(found(images, arch), expected(images, arch))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("groups", [1, 2, 3, 7])
@torch.no_grad()
def test_logits_are_those_of_the_weights_placed_by_hand(groups, prefix):
    supernet = from_published(published(PX28, groups, prefix), PX28)
    assert supernet.split.groups == groups
    assert_same(supernet, by_hand(published(PX28, groups), PX28, groups), torch.randn(2, 1, 16, 16))


@torch.no_grad()
def test_a_file_of_the_competitions_space_loads(tmp_path):
    state = published(TRACK1, 2, "module.")
    torch.save(state, tmp_path / "supernet.pth")
    supernet = load_supernet(tmp_path / "supernet.pth")
    expected = by_hand({key.removeprefix("module."): tensor for key, tensor in state.items()}, TRACK1, 2)
    assert_same(supernet, expected, torch.randn(2, 3, 32, 32))


def test_half_precision_becomes_float32():
    state = {key: tensor.half() for key, tensor in published(PX28, 2).items()}
    supernet = from_published(state, PX28)
    assert {parameter.dtype for parameter in supernet.parameters()} == {torch.float32}


def test_the_first_tensor_of_another_shape_is_named():
    state = published(PX28, 2, "module.")
    state["module.blocks.1.0.2.bn2.bn.weight"] = torch.ones(3)
    state["module.blocks.3.0.1.conv1.conv.weight"] = torch.ones(3)
    with pytest.raises(InputError, match=r"'module.blocks.1.0.2.bn2.bn.weight' has shape \[3\], expected \[14\]"):
        from_published(state, PX28)


def test_a_missing_tensor_is_named():
    state = published(PX28, 1)
    del state["blocks.10.short_conv.conv.weight"]
    with pytest.raises(InputError, match=r"'blocks\.10\.short_conv.conv.weight' is missing"):
        from_published(state, PX28)


def test_a_block_too_many_is_named():
    state = published(PX28, 1) | block("blocks.23", 64, 64, 64)
    with pytest.raises(InputError, match=r"'blocks.23.conv1.conv.weight' does not belong"):
        from_published(state, PX28)


@pytest.mark.parametrize("value", ["text", torch.ones(5, 64, dtype=torch.int64), torch.tensor(1.0)])
def test_what_is_no_weight_is_named(value):
    state = published(PX28, 1) | {"classifier.linear.linear.weight": value}
    with pytest.raises(InputError, match=r"'classifier\.linear\.linear\.(weight|bias)'"):
        from_published(state, PX28)


def test_more_groups_than_there_can_be_are_refused():
    state = published(PX28, 7) | {"classifier_groups.7.linear.linear.weight": torch.ones(5, 64)}
    with pytest.raises(InputError, match="groups is 8"):
        from_published(state, PX28)


@pytest.mark.parametrize("state", [{}, {"classifier.weight": torch.ones(3)}, {3: 4}])
def test_other_files_are_not_taken_for_published_ones(state):
    assert not is_published(state)
