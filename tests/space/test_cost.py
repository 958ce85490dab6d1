"""MACs and parameters, against published numbers and against each other."""

import dataclasses
import json
import math
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import Bound, cost_measures, read_bounds, shown
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from tests.kinds import ALL, CHOICES

PX8, TRACK1 = SPACES["px8"], SPACES["track1"]
EVERY = (*SPACES.values(), *ALL)


def end(space, *, largest):
    return space.extreme(space.all_options, largest=largest)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("arch", "macs", "params"),
    [
        (TRACK1.decode("1252233313000000223212122253130000000000006515000000"), 2_105_099_904, 9_621_328),
        (TRACK1.decode("1448531313231300123222220032124212323242524525756555"), 3_912_912_960, 24_088_464),
        (end(TRACK1, largest=True), 5_282_238_464, 34_043_688),
    ],
)
def test_published_costs(arch, macs, params):
    assert TRACK1.cost(arch) == (macs, params)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "code", "macs", "params"),
    [
        ("channel_resnet", "4432214", 794_495_488, 6_208_394),
        ("channel_mobilenet", "2421221", 60_799_488, 446_858),
        ("macro", "02012100", 47_327_744, 890_666),
    ],
)
def test_costs_of_the_published_tables(name, code, macs, params):
    assert SPACES[name].cost(SPACES[name].decode(code), num_classes=10) == (macs, params)


@pytest.mark.golden
@pytest.mark.skipif("FEWSHOT_NAS_TRUTHS" not in os.environ, reason="FEWSHOT_NAS_TRUTHS is not set")
@pytest.mark.parametrize(
    ("name", "file", "entries"),
    [
        ("channel_resnet", "channel_bench_resnet", 8192),
        ("channel_mobilenet", "channel_bench_mobilenet", 8192),
        ("macro", "nas_bench_macro", 3295),
    ],
)
def test_every_cost_of_the_published_tables(name, file, entries):
    """Of the halves of them that one has: each of multiply-adds and parameters, for every key."""
    space = SPACES[name]
    truths = json.loads((Path(os.environ["FEWSHOT_NAS_TRUTHS"]) / f"{file}_half.json").read_text())
    assert len(truths) == entries
    for code, truth in truths.items():
        assert space.cost(space.decode(code), num_classes=10) == (truth["flops"], truth["params"]), code


def test_costs_by_hand():
    # px8, two blocks a stage, digits 7: widths 3, 6, 13, 26 on images of 8, 8, 4 and 2 pixels.
    arch, sides = end(PX8, largest=False), PX8.sides()
    parts = [(PX8.places[place].stage, block.cost(sides[place])) for place, block in PX8.blocks(arch)]
    stem, stage1, stage2, stage3, stage4 = (
        [sum(each) for each in zip(*(cost for stage, cost in parts if stage == number), strict=True)]
        for number in (-1, 0, 1, 2, 3)
    )
    assert stem == [9 * 3 * 64, 9 * 3 + 6]
    assert stage1 == [2 * 64 * 9 * (9 + 9), 2 * (9 * 18 + 12)]
    assert stage2[0] == 64 * (9 * (3 * 6 + 36) + 3 * 6 + 9 * 72)
    assert stage3[1] == 9 * 13 * (6 + 13) + 6 * 13 + 6 * 13 + 9 * 13 * 26 + 4 * 13
    assert stage4[0] == 4 * (9 * 26 * (13 + 26) + 13 * 26 + 9 * 26 * 52)
    head = PX8.head(arch).cost(10)
    assert head == (260, 270)
    assert PX8.cost(arch, num_classes=10).macs == sum(cost.macs for _, cost in parts) + head.macs


# Of `CHOICES`, the last has the largest tensors, but no expansion.
@given(st.integers(0, 2**32), st.sampled_from([each for each in EVERY if each != CHOICES]), st.integers(1, 300))
def test_costs_lie_between_the_smallest_and_the_largest(seed, space, resolution):
    archs = end(space, largest=False), random_arch(space, random.Random(seed)), end(space, largest=True)
    low, middle, high = (space.cost(arch, resolution=resolution) for arch in archs)
    assert low.macs <= middle.macs <= high.macs
    assert low.params <= middle.params <= high.params


@given(st.integers(0, 2**32), st.sampled_from(EVERY))
def test_measures_add_up_to_the_costs_of_the_whole_network(seed, space):
    measures, arch = cost_measures(space, resolution=40, num_classes=7), random_arch(space, random.Random(seed))
    cost = space.cost(arch, resolution=40, num_classes=7)
    assert {key: measure.of(space, arch) for key, measure in measures.items()} == cost._asdict()


@given(st.integers(0, 2**32))
def test_odd_sizes_round_up_as_convolutions_do(seed):
    arch = random_arch(TRACK1, random.Random(seed))
    assert TRACK1.cost(arch, resolution=223).macs == TRACK1.cost(arch, resolution=224).macs


@pytest.mark.golden
def test_resnet50_is_torchvisions():
    space = SPACES["resnet50"]
    arch = space.arch((1, 1, 1, 1), ((1,) * 3, (1,) * 4, (1,) * 6, (1,) * 3))
    assert space.cost(arch) == (4_089_184_256, 25_557_032)


@pytest.mark.golden
def test_the_deepest_cifar_net_has_the_depth_of_resnet56():
    space = SPACES["cifar"]
    assert space.depth(end(space, largest=True)) == 27
    assert space.code_length == 1 + 3 + 1 + 2 * 27


def test_the_cost_of_a_block_is_found_once(monkeypatch):
    """A ranking asks for the costs of tens of thousands of archs that share few blocks."""
    space = dataclasses.replace(SPACES["px8"])
    first = space.cost(space.largest, resolution=9)
    monkeypatch.setattr(Block, "cost", None)
    assert space.cost(space.largest, resolution=9) == first


# ---- Bounds as a person writes them ---------------------------------------------------------------------------------


def test_units_are_understood():
    assert read_bounds(["params=10"], ["macs=600M", "latency=12ms", "params=1.5k"]) == [
        Bound("macs", high=600e6),
        Bound("latency", high=12_000),
        Bound("params", 10, 1500),
    ]
    assert read_bounds([], ["latency=80us"]) == [Bound("latency", high=80)]
    assert read_bounds([], ["macs=2e6"]) == [Bound("macs", high=2e6)]


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        ([], ["flops=3M"], r"--max is 'flops=3M', expected one of macs=VALUE, params=VALUE, latency=VALUE"),
        ([], ["macs=600MB"], r"--max is 'macs=600MB', expected a number such as macs=600M"),
        ([], ["latency=12"], r"expected a number such as latency=12ms, in us, ms or s"),
        ([], ["latency=12M"], r"expected a number such as latency=12ms, in us, ms or s"),
        (["macs"], [], r"--min is 'macs', expected a number"),
        ([], ["macs=-3"], r"expected a number"),
        ([], ["macs=3", "macs=4"], r"--max macs=4: macs has such a bound already"),
        (["macs=2M"], ["macs=1M"], r"no network has macs >= 2 M and <= 1 M: --min macs is larger than --max macs"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(least, most, message):
    with pytest.raises(InputError, match=message):
        read_bounds(least, most)


def test_values_are_shown_with_their_units():
    assert [shown("macs", value) for value in (12, 1500, 2.5e6, 3.25e9)] == ["12", "1.5 k", "2.5 M", "3.25 G"]
    assert [shown("latency", value) for value in (0.5, 80, 1500, 2e6)] == ["0.5 us", "80 us", "1.5 ms", "2 s"]


def test_excess_is_relative_and_zero_inside():
    bound = Bound("macs", 100, 200)
    assert [bound.excess(value) for value in (100, 150, 200)] == [0, 0, 0]
    assert bound.excess(300) == 0.5
    assert bound.excess(50) == 0.5
    assert Bound("macs").excess(math.inf) == 0
