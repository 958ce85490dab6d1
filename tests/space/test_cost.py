"""MACs and parameters, against published numbers and against each other."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import block_cost, costs, total_cost
from fewshot_nas.space.sampling import largest, random_arch, smallest
from fewshot_nas.space.search_space import SPACES

PX8 = SPACES["px8"]

TRACK1 = SPACES["track1"]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("arch", "macs", "params"),
    [
        (PX8.decode("1252233313000000223212122253130000000000006515000000"), 2_105_099_904, 9_621_328),
        (PX8.decode("1448531313231300123222220032124212323242524525756555"), 3_912_912_960, 24_088_464),
        (largest(PX8), 5_282_238_464, 34_043_688),
    ],
)
def test_published_costs(arch, macs, params):
    assert total_cost(TRACK1, arch) == (macs, params)


def test_costs_by_hand():
    # px8, two blocks a stage, digits 7: widths 3, 6, 13, 26 on images of 8, 8, 4 and 2 pixels.
    stem, stage1, stage2, stage3, stage4, head = costs(PX8, smallest(PX8), num_classes=10)
    assert stem == (9 * 3 * 64, 9 * 3 + 6)
    assert stage1 == (2 * 64 * 9 * (9 + 9), 2 * (9 * 18 + 12))
    assert stage2.macs == 64 * (9 * (3 * 6 + 36) + 3 * 6 + 9 * 72)
    assert stage3.params == 9 * 13 * (6 + 13) + 6 * 13 + 6 * 13 + 9 * 13 * 26 + 4 * 13
    assert stage4.macs == 4 * (9 * 26 * (13 + 26) + 13 * 26 + 9 * 26 * 52)
    assert head == (260, 270)


@given(st.integers(0, 2**32), st.sampled_from(sorted(SPACES)), st.integers(1, 300))
def test_costs_lie_between_the_smallest_and_the_largest(seed, name, resolution):
    space, arch = SPACES[name], random_arch(SPACES[name], random.Random(seed))
    low, middle, high = (
        total_cost(space, each, resolution=resolution) for each in (smallest(space), arch, largest(space))
    )
    assert low.macs <= middle.macs <= high.macs
    assert low.params <= middle.params <= high.params


@given(st.integers(0, 2**32))
def test_odd_sizes_round_up_as_convolutions_do(seed):
    arch = random_arch(PX8, random.Random(seed))
    assert total_cost(TRACK1, arch, resolution=223).macs == total_cost(TRACK1, arch, resolution=224).macs


def test_a_bottleneck_by_hand():
    # 8 -> 2 -> 2 -> 16 channels, stride 2 at the 3x3: from 8 to 4 pixels, and a shortcut of 8 -> 16.
    cost = block_cost(Block(1, 8, 2, 16, 2, "bottleneck"), 8)
    assert cost.macs == 64 * 8 * 2 + 16 * (9 * 2 * 2 + 2 * 16 + 8 * 16)
    assert cost.params == 16 + 36 + 32 + 128 + 2 * (2 + 2 + 16 + 16)


@pytest.mark.golden
def test_resnet50_is_torchvisions():
    space = SPACES["resnet50"]
    arch = Arch((1, 1, 1, 1), ((1,) * 3, (1,) * 4, (1,) * 6, (1,) * 3))
    assert total_cost(space, arch) == (4_089_184_256, 25_557_032)


@pytest.mark.golden
def test_the_deepest_cifar_net_has_the_depth_of_resnet56():
    space = SPACES["cifar"]
    assert largest(space).depths == (9, 9, 9)
    assert space.code_length == 1 + 3 + 1 + 2 * 27
