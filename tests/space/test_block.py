"""The block: shortcuts, costs by hand, and which blocks can share tensors."""

import random

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import IDENTITY, Block, Cost, Head, Op, basic, bottleneck, inverted_residual, widest
from fewshot_nas.space.space import random_arch
from tests.kinds import SPLITS, named


@pytest.mark.parametrize(("shape", "projects"), [((8, 4, 8, 1), False), ((8, 4, 8, 2), True), ((8, 4, 6, 1), True)])
def test_a_shortcut_projects_where_the_shape_changes(shape, projects):
    inputs, _, out, stride = shape
    for make in (basic, bottleneck):
        assert make(*shape).shortcut == ((Op(inputs, out, 1, stride),) if projects else ())
        assert make(*shape, projects=False).shortcut == (None if projects else ())
    assert inverted_residual(*shape[:3], 3, stride).shortcut == (None if projects else ())


def test_a_bottleneck_by_hand():
    # 8 -> 2 -> 2 -> 16 channels, stride 2 at the 3x3: from 8 to 4 pixels, and a shortcut of 8 -> 16.
    block = bottleneck(8, 2, 16, 2)
    assert block.cost(8) == (
        64 * 8 * 2 + 16 * (9 * 2 * 2 + 2 * 16 + 8 * 16),
        16 + 36 + 32 + 128 + 2 * (2 + 2 + 16 + 16),
    )
    assert (block.sides(8), block.side_after(8)) == ([8, 4, 4, 4], 4)


def test_an_inverted_residual_by_hand():
    # 4 -> 8 -> 8 -> 6 channels with a depthwise 5x5 of stride 2 on 7 pixels, and a gate with 2 middle channels.
    block = inverted_residual(4, 8, 6, 5, 2, "silu", squeeze=2)
    gate = 2 * 8 * 2
    assert block.cost(7).macs == 49 * 4 * 8 + 16 * (25 * 8 + 8 * 6) + gate
    assert block.cost(7).params == 32 + 200 + 48 + 2 * (8 + 8 + 6) + gate + 2 + 8


def test_a_head_and_a_pool_by_hand():
    assert Head(6).cost(10) == Cost(60, 70)
    assert Head(6, 5).cost(10) == Cost(30 + 50, 35 + 60)
    assert Block((Op(3, 4, 7, 2),), None, pool=True).side_after(33) == 9


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ((), IDENTITY),
        ((IDENTITY, basic(4, 5, 4)), basic(4, 5, 4)),
        ((basic(4, 5, 4), basic(3, 7, 3)), basic(4, 7, 4)),
        ((basic(4, 5, 4), basic(4, 5, 6)), basic(4, 5, 6)),  # one adds its input, the other a projection
        ((inverted_residual(2, 1, 4, 3), inverted_residual(2, 6, 4, 3)), inverted_residual(2, 6, 4, 3)),
        ((inverted_residual(4, 8, 4, 3), inverted_residual(4, 6, 4, 7)), inverted_residual(4, 8, 4, 7)),
        (
            (inverted_residual(4, 8, 6, 3, squeeze=3), inverted_residual(4, 8, 6, 3)),
            inverted_residual(4, 8, 6, 3, squeeze=3),
        ),
    ],
)
def test_the_widest_block_contains_the_others(blocks, expected):
    assert widest(blocks) == expected


@pytest.mark.parametrize(
    "blocks",
    [
        (Block((Op(4, 6, 1, 2),), None), inverted_residual(4, 8, 6, 3, 2)),  # another number of operations
        (basic(4, 5, 4, 1), basic(4, 5, 4, 2)),  # strides
        (inverted_residual(4, 8, 4, 3), inverted_residual(4, 8, 4, 3, act="silu")),  # activations
        (bottleneck(4, 4, 4), inverted_residual(4, 4, 4, 3)),  # whole and depthwise
    ],
)
def test_blocks_that_differ_in_more_than_sizes_cannot_share(blocks):
    with pytest.raises(InputError, match="cannot share tensors; let each choice have its own"):
        widest(blocks)


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_every_block_fits_its_home(split):
    homes, heads = split.homes, split.heads
    for seed in range(10):
        arch = random_arch(split.space, random.Random(seed))
        for block, home in split.network(arch):
            assert len(block.main) == len(homes[home].main)
            # An identity beside a projection needs no operation.
            for ours, stored in zip(block.ops(), homes[home].ops(), strict=False):
                assert (ours.stride, ours.act, ours.groups == 1) == (stored.stride, stored.act, stored.groups == 1)
                assert all(one <= other for one, other in zip(ours, stored, strict=True) if isinstance(one, int))
        head, home = split.head(arch)
        assert head.inputs <= heads[home].inputs
        assert head.hidden <= heads[home].hidden
