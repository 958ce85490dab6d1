"""MACs and parameters, against published numbers and against each other."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.space.cost import costs, total_cost
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
