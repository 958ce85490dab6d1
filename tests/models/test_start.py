"""Weights of files, fitted to a space: the same function where it fits, and a sentence where it does not."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import save_subnet, save_supernet
from fewshot_nas.models.start import read_start
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width, one_shot
from tests.kinds import BOTTLENECK, MACRO, MBCONV, PX8, named

TRACK1, RESNET50 = SPACES["track1"], SPACES["resnet50"]
SMALL = replace(PX8, name="small", base_widths=(4, 6, 8, 10), depths=((1, 2),) * 4)
NOW = {"num_classes": 10}


def stirred(network):
    """The network in evaluation mode, with norms and statistics that show in its logits."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.copy_(torch.rand(len(tensor), generator=generator) + 0.5)
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(torch.randn(len(tensor), generator=generator) / 5)
    return network.eval()


def equal(one, other, images):
    """Whether two networks give the same logits; in float64, so that rounding does not count."""
    with torch.no_grad():
        ours, theirs = (network.double()(images.double()) for network in (one, other))
    return torch.allclose(ours, theirs, rtol=1e-8, atol=1e-8 * float(theirs.abs().max()))


def small_file(path, space=SMALL, arch=None, classes=10):
    torch.manual_seed(3)
    subnet = stirred(Subnet(space, arch or space.largest, classes))
    save_subnet(path, subnet, space, space.encode(arch or space.largest))
    return subnet


def in_torchvision_s_names(subnet):
    """The state dict that torchvision would write of this network, which has a stem and two blocks a stage."""
    found = {}
    for number, block in enumerate(subnet.blocks):
        stage, position = divmod(number - 1, 2)
        layer = f"layer{stage + 1}.{position}." if number else ""
        for name, tensor in block.state_dict().items():
            path, count, kind, tensor_name = name.split(".")
            unit = f"{'conv' if kind == 'conv' else 'bn'}{int(count) + 1}"
            unit = f"downsample.{int(kind == 'norm')}" if path == "shortcut" else unit
            found[f"{layer}{unit}.{tensor_name}"] = tensor
    return found | {f"fc.{name}": each for name, each in subnet.head.linear.state_dict().items()}


def test_a_state_dict_is_read_by_its_names(tmp_path):
    """As torchvision writes it; the tests with its own networks are slow."""
    torch.manual_seed(3)
    subnet = stirred(Subnet(SMALL, SMALL.largest, 10))
    torch.save(in_torchvision_s_names(subnet), tmp_path / "file.pth")
    save_file(in_torchvision_s_names(subnet), tmp_path / "file.safetensors")  # as timm's are distributed
    same = read_start(tmp_path / "file.safetensors", SMALL, NOW).subnet(SMALL.largest)
    assert equal(same.eval(), subnet, torch.rand(3, 1, 8, 8))
    deeper = replace(SMALL, name="deeper", depths=((1, 2), (1, 2), (1, 4), (1, 2)))
    start = read_start(tmp_path / "file.pth", deeper, NOW)
    assert "a ResNet; blocks that the file lacks, which begin as identity: 2; channels are sorted" in start.said
    assert equal(start.subnet(deeper.largest).eval(), subnet, torch.rand(3, 1, 8, 8))


@pytest.mark.slow
def test_the_largest_subnet_computes_what_torchvision_s_resnet_does(tmp_path):
    """Here and in a space with more blocks; with the file's statistics, and with those of a batch."""
    model = stirred(torchvision.models.resnet18(num_classes=7))
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save({"model": state, "epoch": 90}, tmp_path / "file.pth")  # as training scripts write it
    start, images = read_start(tmp_path / "file.pth", TRACK1, {"num_classes": 7}), torch.rand(2, 3, 32, 32)
    assert "blocks that the file lacks, which begin as identity: 15;" in start.said
    assert equal(start.subnet(TRACK1.largest).eval(), model, images)
    with torch.no_grad():
        assert torch.allclose(
            start.supernet.double()(images.double(), TRACK1.largest),
            model.train()(images.double()),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "space"), [("resnet18", TRACK1), ("resnet34", TRACK1), ("resnet50", RESNET50), ("resnet26", RESNET50)]
)
def test_the_largest_subnet_computes_what_timm_s_resnets_do(tmp_path, name, space):
    model = stirred(timm.create_model(name))
    torch.save(model.state_dict(), tmp_path / "file.pth")
    start = read_start(tmp_path / "file.pth", space, {"num_classes": 1000})
    assert equal(start.subnet(space.largest).eval(), model, torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize("space", [SMALL, replace(BOTTLENECK, name="deep")])
def test_channels_come_in_the_order_of_importance_and_the_function_stays(tmp_path, space):
    """The importance by once-for-all's rule, of the middle and of what blocks of a stage share."""
    subnet = small_file(tmp_path / "file.pth", space)
    start = read_start(tmp_path / "file.pth", space, NOW)
    assert equal(start.subnet(space.largest).eval(), subnet, torch.rand(3, space.in_channels, 8, 8))
    weights = start.supernet.tensors(space.largest)
    norm = lambda weight: weight.abs().sum((0, *range(2, weight.dim())))  # noqa: E731
    for block in weights.blocks:
        for unit in block.main[1:]:
            assert norm(unit.conv).diff().max() <= 0
    last, before = weights.blocks[-1], weights.blocks[-2]
    shared = norm(last.main[0].conv) + norm(weights.head.weight)  # the last stage's first block joins no identity
    assert before.block.out == last.block.out
    assert shared.diff().max() <= 1e-5 if len([b for b in weights.blocks if b.stage == last.stage]) == 2 else True
    first = subnet.blocks[1].main[0].conv.weight
    assert not torch.equal(first, weights.blocks[1].main[0].conv)


def test_a_narrower_network_has_the_leading_channels_and_their_statistics(tmp_path):
    small_file(tmp_path / "file.pth")
    start = read_start(tmp_path / "file.pth", SMALL, NOW)
    whole, cut = start.subnet(SMALL.largest), start.subnet(SMALL.smallest)
    for ours, theirs in ((cut.blocks[1], whole.blocks[1]), (cut.blocks[0], whole.blocks[0])):
        found = theirs.state_dict()
        for name, tensor in ours.state_dict().items():
            assert torch.equal(tensor, part(found[name], *tensor.shape)), name
    assert float(cut.blocks[1].main[0].norm.running_mean.abs().sum()) > 0


@pytest.mark.parametrize("space", [SMALL, MACRO, MBCONV])
def test_a_network_of_the_same_space_begins_as_it_was(tmp_path, space):
    """A small arch too, whose tensors are parts of the supernet's."""
    subnet = small_file(tmp_path / "file.pth", space, space.smallest)
    start = read_start(tmp_path / "file.pth", space, NOW)
    assert equal(start.subnet(space.smallest).eval(), subnet, torch.rand(3, space.in_channels, 8, 8))


@pytest.mark.parametrize("split", [one_shot(MBCONV), by_width(SMALL, 2)], ids=named)
def test_a_supernet_keeps_all_but_the_classifier_of_other_classes(tmp_path, split):
    supernet, space = Supernet(split, 6), split.space
    save_supernet(tmp_path / "file.pth", supernet)
    start = read_start(tmp_path / "file.pth", space, NOW)
    assert start.said.endswith("a supernet of this space; the classifier is new, for 10 classes in place of 6")
    ours, theirs = start.supernet.state_dict(), supernet.state_dict()
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {
        name for name in ours if ".linear." in name
    }


def test_a_supernet_of_another_depth_gives_its_largest_network(tmp_path):
    supernet = Supernet(one_shot(SMALL), 10)
    for parameter in supernet.parameters():
        torch.nn.init.uniform_(parameter, 0.2, 0.8)
    save_supernet(tmp_path / "file.pth", supernet)
    deeper = replace(SMALL, name="deeper", depths=((1, 4),) * 4)
    start, images = read_start(tmp_path / "file.pth", deeper, NOW), torch.rand(3, 1, 8, 8)
    assert "sorted" not in start.said
    assert torch.allclose(start.supernet(images, deeper.largest), supernet(images, SMALL.largest), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        ({"classes": ["cat", "dog"], "name": "one"}, {"classes": ("cat", "dog"), "name": "other"}, True),
        ({"classes": ["cat", "dog"]}, {"classes": ("dog", "cat")}, False),
        ({"name": "digits"}, {"name": "garments"}, False),
        ({}, {"classes": ("dog", "cat")}, True),
    ],
)
def test_a_classifier_is_kept_for_the_same_classes(tmp_path, before, now, kept):
    subnet = Subnet(SMALL, SMALL.largest, 2)
    subnet.trained_on = before
    save_subnet(tmp_path / "file.pth", subnet, SMALL, SMALL.encode(SMALL.largest))
    start = read_start(tmp_path / "file.pth", SMALL, {"num_classes": 2, **now})
    assert torch.equal(start.subnet(SMALL.largest).head.linear.bias, subnet.head.linear.bias) or not kept
    assert ("is kept" in start.said, "is new" in start.said) == (kept, not kept)


def test_a_stem_of_another_shape_is_new_and_all_else_is_kept(tmp_path):
    small_file(tmp_path / "file.pth")
    space = replace(SMALL, name="colour", in_channels=3, stem_kernel=5)
    start = read_start(tmp_path / "file.pth", space, NOW)
    assert "the stem is new, because its kernels are [1, 3, 3] in the file and [3, 5, 5] in the space;" in start.said
    same = read_start(tmp_path / "file.pth", SMALL, NOW)
    ours, theirs = (each.subnet(SMALL.largest).blocks[1].state_dict() for each in (start, same))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def without(*names):
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(names)}


def plus(name, value):
    return lambda state: state | {name: value}


BOTTLENECKS = replace(SMALL, block="bottleneck", base_widths=(16, 24, 32, 40))


@pytest.mark.parametrize(
    ("space", "change", "message"),
    [
        (SPACES["cifar"], dict, r"has 4 stages, but space cifar has 3"),
        (BOTTLENECKS, dict, r"has basic blocks, but those of space .* are bottleneck ones; .*preset=track1"),
        (SMALL, without("layer2.0.downsample"), r"block 1\.0 lacks the tensor shortcut\.0\.conv\.weight"),
        (SMALL, without("layer1.1.bn2.bias"), r"block 0\.1 lacks the tensor main\.1\.norm\.bias"),
        (SMALL, without("layer2.0."), r"-1\.0\.main\.0\..* and .* differ in channels"),
        (SMALL, without("layer2.0.conv"), r"block 1\.0 has no convolution"),
        (SMALL, plus("layer1.0.se.weight", torch.ones(1)), r"'layer1\.0\.se\.weight' is none that the ResNets of"),
        (SMALL, plus("fc.weight", torch.ones(3)), r"'fc\.weight' is no tensor .* with 2 dimensions"),
        (SMALL, plus("conv1.weight", 3), r"'conv1\.weight' is no tensor"),
        (SMALL, plus("bn1.weight", torch.ones(3)), r"-1\.0\.main\.0\..* and .* differ in channels"),
        (
            SMALL,
            plus("layer1.0.conv2.weight", torch.ones(4, 2, 3, 3)),
            r"differ in channels, expected a ResNet without",
        ),
        (SMALL, lambda state: {"weights": state}, r"format is None, expected .* or a published state dict"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(tmp_path, space, change, message):
    state = in_torchvision_s_names(Subnet(SMALL, SMALL.largest, 2))
    torch.save(state, tmp_path / "file.pth")
    read_start(tmp_path / "file.pth", SMALL, NOW)
    torch.save(change(state), tmp_path / "file.pth")
    with pytest.raises(InputError, match=rf"file\.pth: .*{message}"):
        read_start(tmp_path / "file.pth", space, NOW)
