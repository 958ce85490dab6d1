"""Paths of MBConv blocks: the published counts, the codes, and what is refused."""

import json
from dataclasses import replace

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.subnet import blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.presets import SPACES, space_of, with_values
from fewshot_nas.space.split import one_shot, shared

CREAM = SPACES["cream"]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("resolution", "stages", "macs", "params"),
    [
        (64, "0 33 33 1 3", 13_188_608, 2_673_096),
        (160, "0 33 33 333 33", 109_623_680, 4_410_120),
        (224, "0 33 313 3333 333", 276_262_016, 6_044_368),
        (224, "33233 32323 32323 332233 332333", 578_698_368, 9_695_624),
    ],
)
def test_published_networks_have_their_published_costs(resolution, stages, macs, params):
    chosen = [list(map(int, stage)) for stage in stages.split()]
    space = replace(CREAM, lengths=tuple(map(len, chosen)), resolution=resolution)
    assert space.cost(space.decode(json.dumps([[0], *chosen, [0]]))) == (macs, params)


@pytest.mark.golden
def test_the_published_supernet_with_its_matching_network():
    space = replace(CREAM, lengths=(4, 4, 5, 4, 4))
    supernet = blueprint(lambda: Supernet(one_shot(space), 1000))
    assert sum(parameter.numel() for parameter in supernet.parameters()) + 4 * 1000 + 1 == 29_809_073


def test_shared_choices_are_as_large_as_the_last():
    whole, last = blueprint(lambda: Supernet(shared(CREAM), 10)), CREAM.cost(CREAM.largest, num_classes=10)
    assert sum(parameter.numel() for parameter in whole.parameters()) == last.params


def test_codes_are_the_choices_by_stage():
    space = replace(CREAM, lengths=(1, 2, 1, 1, 3))
    code = "[[0],[3],[0,5],[2],[1],[4,4,0],[0]]"
    assert space.decode(code) == (3, 0, 5, 2, 1, 4, 4, 0)
    assert space.encode(space.decode(code)) == code
    assert space.code_length == len(code)
    assert space_of(space.values()) == space


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("[[0],[3],[0,5],[0]]", "has the depths 1, 2, expected 1, 2, 1$"),
        ("[[0],[3],[0,6],[0],[0]]", "slot 2 block 1 is 6, expected one of 0, 1, 2, 3, 4, 5"),
        ("[[0],[3],[0,true],[0],[0]]", "is no path, expected lists of choices"),
        ("[[1],[3],[0,1],[0],[0]]", "is no path, expected lists of choices"),
        ("3015", "is no path, expected lists of choices"),
        ("[" * 100_000, "is no path, expected lists of choices"),
    ],
)
def test_another_code_is_refused(code, message):
    space = MBConvSpace("three", lengths=(1, 2, 1), widths=(8, 8, 8), strides=(1, 1, 1))
    with pytest.raises(InputError, match=message):
        space.decode(code)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (8, 8)}, "lengths, widths and strides need a number for each stage"),
        ({"lengths": (4, 0, 4, 4, 4)}, r"lengths are \[4, 0, 4, 4, 4\], expected positive numbers"),
        ({"stem_width": 12}, r"stem_width, widths and last_width are \[12, .*, expected multiples of 8"),
        ({"head_width": 0}, r"head_width and expansions are \[0, 4, 6\], expected positive numbers"),
        ({"strides": (2, 2, 3, 1, 1)}, r"stem_stride and strides are \[2, 2, 2, 3, .*, expected each to be 1 or 2"),
        ({"kernels": (2, 4, 6)}, r"kernels is \[2, 4, 6\], expected odd numbers"),
        ({"kernels": (5, 3, 7)}, r"kernels is \[5, 3, 7\], expected rising numbers"),
        ({"expansions": (4, 4)}, r"expansions is \[4, 4\], expected rising numbers"),
        ({"expansions": ()}, r"expansions is \[\], expected rising numbers"),
    ],
)
def test_a_value_that_makes_no_network_is_named(values, message):
    with pytest.raises(InputError, match=f"^space cream: {message}"):
        with_values(CREAM, values)
