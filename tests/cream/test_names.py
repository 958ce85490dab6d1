"""A path's network and timm's network of the same weights."""

from functools import partial

import pytest
import torch
from timm.models import MobileNetV3
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def

from fewshot_nas.cream.runs import from_timm, to_timm
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import round_width
from tests.rounding import bound

SPACE = MBConvSpace("paths", lengths=(1, 2, 1, 1, 2), in_channels=1, resolution=32)
ARCH = (3, 0, 5, 2, 1, 4, 3)


def timm_network(space, arch, classes):
    """The network that the public code builds, by timm."""
    stages = [
        [
            f"ir_r1_k{kernel}_s{stride}_e{expansion}_c{out}_se0.25"
            for kernel, expansion in map(space.choices.__getitem__, stage)
        ]
        for stage, out, stride in zip(space.by_stage(arch), space.widths, space.strides, strict=True)
    ]
    blocks = [[f"ds_r1_k3_s1_e1_c{space.stem_width}_se0.25"], *stages, [f"cn_r1_k1_s1_c{space.last_width}"]]
    squeeze = partial(
        SqueezeExcite,
        force_act_layer=torch.nn.ReLU,
        gate_layer="hard_sigmoid",
        rd_round_fn=partial(round_width, divisor=8),
    )
    return MobileNetV3(
        decode_arch_def(blocks),
        num_classes=classes,
        in_chans=space.in_channels,
        stem_size=space.stem_width,
        num_features=space.head_width,
        act_layer=torch.nn.SiLU,
        se_layer=squeeze,
        se_from_exp=True,
    )


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    ours, theirs = Subnet(SPACE, ARCH, 5), timm_network(SPACE, ARCH, 5)
    for module in ours.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    theirs.load_state_dict(to_timm(ours.state_dict(), SPACE))
    return ours, theirs


@pytest.mark.numeric
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_those_of_timm(networks, training):
    images = torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = (network.train(training)(images) for network in networks)
    # The longest sum: the widest block's, its squeeze, the hidden layer, added over about six blocks.
    allowed = bound(6 * (7**2 + 6 * 192 + 8 * 16**2 + 1280), float(theirs.abs().max()))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=allowed)
    assert float(theirs.std()) > 10 * allowed


def test_every_tensor_has_a_name_there_and_comes_back(networks):
    ours, theirs = networks
    back = from_timm(theirs.state_dict(), ours.state_dict(), SPACE)
    assert all(torch.equal(tensor, back[name]) for name, tensor in ours.state_dict().items())
    assert len(theirs.state_dict()) == len(back)


def test_fresh_weights_are_as_spread_as_those_of_timm(networks):
    theirs = timm_network(SPACE, ARCH, 5).state_dict()
    for name, tensor in to_timm(Subnet(SPACE, ARCH, 5).state_dict(), SPACE).items():
        if tensor.numel() > 2000:
            assert float(tensor.std()) == pytest.approx(float(theirs[name].std()), rel=0.1), name
        elif "bn" in name:
            assert torch.equal(tensor, theirs[name]), name


def test_the_names_that_published_files_have(networks):
    names = set(to_timm(networks[0].state_dict(), SPACE))
    assert {"conv_stem.weight", "bn1.running_var", "blocks.2.1.conv_pwl.weight", "conv_head.bias"} <= names
    assert {"blocks.0.0.se.conv_reduce.bias", "blocks.6.0.bn1.bias", "classifier.weight"} <= names
