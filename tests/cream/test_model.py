"""Networks by their codes: what is read, what is refused, and that costs are those of the networks that are built."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.model import MODELS, CreamSpace, as_published, model_of, read_model
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import write_json
from fewshot_nas.space.pool import make_pool
from tests.cream.test_flops import counted_macs

EXAMPLE = "[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]"
STAGE = st.lists(st.integers(0, 5), min_size=1, max_size=6)
SMALL = CreamSpace(
    stem_width=8,
    stem_stride=1,
    widths=(8, 16, 24, 32, 48),
    strides=(2, 2, 1, 2, 1),
    last_width=96,
    head_width=256,
    kernels=(1, 3, 5),
    expansions=(1, 4),
)
BUDGET = Budget(CreamSpace().of((1,) * 5, 32), 1, 3)


@given(st.tuples(STAGE, STAGE, STAGE, STAGE, STAGE))
def test_what_is_written_is_read_back(stages):
    code = json.dumps([[0], *stages, [0]], separators=(",", ":"))
    assert model_of(code, 32).code == code
    assert model_of(code.replace(",", ", "), 32).arch == tuple(choice for stage in stages for choice in stage)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("3,3,3", "is no path, expected lists of choices"),
        ("[0,3,3,3,3,3,0]", "is no path"),
        ("[[0],[3],[3],[3],[3],[0]]", "has 4 stages, expected 5 stages between"),
        ("[[1],[3],[3],[3],[3],[3],[0]]", "is no path"),
        ("[[0],[3],[3,6],[3],[3],[3],[0]]", "slot 2 block 1 is 6, expected one of 0, 1, 2, 3, 4, 5"),
        ("[[0],[3],[],[3],[3],[3],[0]]", "is no path"),
        ("[[0],[3],[3],[3],[true],[3],[0]]", "is no path"),
        ("[[0],[3],[3],[3],[-1],[3],[0]]", "slot 4 block 0 is -1"),
        ("[[0],[3],[3],[3],[[1]],[3],[0]]", "is no path"),
    ],
)
def test_what_is_no_path_is_refused(text, complaint):
    with pytest.raises(InputError, match=f"^INPUT_ARCH: code .*{complaint}"):
        model_of(text, 32)


def test_published_paths_keep_the_template_of_single_blocks():
    assert as_published(model_of("[[0],[5],[5],[5],[5],[5],[0]]", 32)).arch == (0, 2, 1, 1, 3)
    assert as_published(model_of("[[0],[5,5],[5],[5,5],[5,5],[5,5],[0]]", 32)).arch == (5, 5, 2, 5, 5, 5, 5, 5, 5)


def test_published_models_have_their_sizes_of_images():
    sides = {14: 64, 43: 96, 114: 160, 287: 224, 481: 224, 604: 224}
    assert {name: model.resolution for name, model in MODELS.items()} == sides


@pytest.mark.golden
def test_the_published_space():
    space = CreamSpace().of((1,) * 5, 224)
    assert space.choices == ((3, 4), (3, 6), (5, 4), (5, 6), (7, 4), (7, 6))
    assert (space.widths, space.strides) == ((24, 40, 80, 96, 192), (2, 2, 2, 1, 2))
    assert vars(CreamSpace()) == {name: getattr(space, name) for name in vars(CreamSpace())}


@pytest.mark.parametrize("side", [16, 27])
def test_macs_and_parameters_of_another_space_are_those_of_its_networks(side, tmp_path):
    model = model_of("[[0],[0,5],[1,2],[2,3],[4,4],[5,0],[0]]", side, SMALL)
    write_json(tmp_path / "path.json", {**model.values(), "top1": 3.5})
    assert read_model(tmp_path / "path.json") == model
    network, cost = Subnet(model.on(1), model.arch, 7), model.on(1).cost(model.arch, num_classes=7)
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


def draw_pool(size, seed, budget=BUDGET):
    return make_pool(budget.space, seed, size, budget.sample)


def test_a_pool_has_distinct_paths_within_the_bounds_and_the_same_again():
    pool = draw_pool(50, 0)
    assert list(pool) == [f"arch{number}" for number in range(1, 51)]
    assert len(set(pool.values())) == 50
    assert all(1 <= BUDGET.mflops(path) <= 3 for path in pool.values())
    assert draw_pool(20, 0) == dict(list(pool.items())[:20])
    assert draw_pool(20, 1) != draw_pool(20, 0)


def test_more_paths_than_there_are_is_refused():
    cost = BUDGET.mflops((3,) * 5)
    few = Budget(BUDGET.space, cost, cost)
    with pytest.raises(InputError, match=r"is to have 999 archs, but drawing found only \d+; choose a smaller"):
        draw_pool(999, 0, few)
