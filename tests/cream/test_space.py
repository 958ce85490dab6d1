"""Spaces of the published form: what is refused, and that costs are those of the networks that are built."""

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.flops import path_cost
from fewshot_nas.cream.paths import arch_of
from fewshot_nas.cream.space import PUBLISHED, CreamSpace
from fewshot_nas.models.subnet import Subnet
from tests.cream.test_flops import counted_macs

SMALL = CreamSpace(8, 1, (8, 16, 24, 32, 48), (2, 2, 1, 2, 1), 96, 256, (1, 3, 5), (1, 4))
PATH = ((0, 5), (1, 2), (2, 3), (4, 4), (5, 0))


@pytest.mark.golden
def test_the_published_space():
    assert PUBLISHED.choices == ((3, 4), (3, 6), (5, 4), (5, 6), (7, 4), (7, 6))
    assert (PUBLISHED.widths, PUBLISHED.strides) == ((24, 40, 80, 96, 192), (2, 2, 2, 1, 2))


def test_choices_are_of_the_space():
    assert SMALL.choices[3] == (3, 4)


@pytest.mark.parametrize("side", [16, 27])
def test_macs_and_parameters_of_another_space_are_those_of_its_networks(side):
    network = Subnet(SMALL.network((2,) * 5, 1, side), arch_of(PATH), 7)
    cost = path_cost(PATH, side, num_classes=7, in_channels=1, space=SMALL)
    assert cost.macs == counted_macs(network, torch.zeros(1, 1, side, side))
    assert cost.params == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widths": (8, 8)}, r"SPACE.widths is \[8, 8\], expected 5 numbers"),
        ({"kernels": (3, 5)}, r"SPACE.kernels is \[3, 5\], expected 3 numbers"),
        ({"stem_width": 12}, r"SPACE.stem_width, widths and last_width are \[12, .*, expected multiples of 8"),
        ({"head_width": 0}, r"SPACE.head_width and expansions are \[0, 4, 6\], expected positive numbers"),
        (
            {"strides": (2, 2, 3, 1, 1)},
            r"SPACE.stem_stride and strides are \[2, 2, 2, 3, .*, expected each to be 1 or 2",
        ),
        ({"kernels": (2, 4, 6)}, r"SPACE.kernels is \[2, 4, 6\], expected odd numbers"),
        ({"kernels": (5, 3, 7)}, r"SPACE.kernels is \[5, 3, 7\], expected rising numbers"),
        ({"expansions": (4, 4)}, r"SPACE.expansions is \[4, 4\], expected rising numbers"),
    ],
)
def test_a_value_that_makes_no_network_is_named(values, message):
    with pytest.raises(InputError, match=f"^{message}"):
        CreamSpace(**values)
