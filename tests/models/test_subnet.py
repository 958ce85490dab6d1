"""Taken out of its supernet, a subnet is the same function, and costs what the space says."""

import io
import random

import pytest
import torch
import torch.fx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Arch, Space, random_arch
from tests.kinds import ALL, SPLITS, named
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8, TRACK1 = SPACES["px8"], SPACES["track1"]


def ends(space: Space) -> list[Arch]:
    """The largest and the smallest arch."""
    return [space.extreme(space.all_options, largest=each) for each in (True, False)]


LARGEST, SMALLEST = ends(PX8)

archs = st.integers(0, 2**32).map(lambda seed: random_arch(PX8, random.Random(seed)))


def ten_archs() -> list[Arch]:
    rng = random.Random(7)
    return [SMALLEST, LARGEST, *(random_arch(PX8, rng) for _ in range(8))]


def assert_same(supernet: Supernet, arch: Arch, images: torch.Tensor) -> None:
    """Logits, and gradients on the leading slices, agree but for rounding: a kernel depends on the weights' strides."""
    supernet.zero_grad()
    subnet = extract(supernet, arch)
    sliced, static = supernet(images, arch), subnet(images)
    there, back = (terms(supernet.space, [arch], images, backward=backward) for backward in (False, True))
    assert_equal_but_for_rounding(sliced, static, there, "the logits")
    for logits in (sliced, static):
        (logits.square().sum() / 7).backward()
    gradients = supernet.tensors(arch, lambda parameter, *sizes: part(parameter.grad, *sizes))
    for gradient, (name, parameter) in zip(gradients.tensors(), subnet.named_parameters(), strict=True):
        assert_equal_but_for_rounding(gradient, parameter.grad, back, name)


@pytest.mark.parametrize("groups", [1, 2, 5, 7])
def test_sliced_equals_extracted(fresh, groups):
    supernet, images = fresh("px8", groups).double(), torch.randn(3, 1, 8, 8).double()
    for arch in ten_archs():
        assert_same(supernet, arch, images)


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_sliced_equals_extracted_in_every_kind_of_space(fresh, split):
    supernet, images = fresh(split).double(), torch.randn(3, 1, 8, 8).double()
    for seed in range(3):
        assert_same(supernet, random_arch(split.space, random.Random(seed)), images)


@pytest.mark.parametrize(
    "arch", [ends(TRACK1)[1], TRACK1.decode("1252233313000000223212122253130000000000006515000000")]
)
def test_sliced_equals_extracted_at_full_width(fresh, arch):
    assert_same(fresh("track1", 2).double(), arch, torch.randn(2, 3, 32, 32).double())


@settings(deadline=None, max_examples=6)
@given(arch=archs, space=st.sampled_from(["px8", "px28", "track1"]), resolution=st.integers(8, 40))
def test_cost_is_what_torch_counts(arch, space, resolution):
    cost = SPACES[space].cost(arch, resolution=resolution, num_classes=10)
    with torch.device("meta"):
        subnet = Subnet(SPACES[space], arch, num_classes=10)
        images = torch.randn(2, SPACES[space].in_channels, resolution, resolution)
    with FlopCounterMode(display=False) as counter:
        subnet(images)
    assert counter.get_total_flops() == 2 * len(images) * cost.macs
    assert sum(parameter.numel() for parameter in subnet.parameters()) == cost.params


def test_it_owns_its_memory(shared):
    supernet = shared("px8", 2)
    theirs = {parameter.untyped_storage().data_ptr() for parameter in supernet.parameters()}
    ours = {tensor.untyped_storage().data_ptr() for tensor in extract(supernet, LARGEST).state_dict().values()}
    assert not theirs & ours


def test_statistics_start_at_reset_state(shared):
    norms = [layer for layer in extract(shared("px8", 2), SMALLEST).modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()
        assert norm.num_batches_tracked == 0


def test_extraction_draws_no_random_number(shared):
    before = torch.get_rng_state()
    extract(shared("px8", 2), LARGEST)
    assert torch.equal(torch.get_rng_state(), before)


def test_extraction_keeps_the_number_format(fresh):
    supernet = fresh("px8", 2).double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    found, expected = extract(supernet, SMALLEST)(images), supernet(images, SMALLEST)
    assert_equal_but_for_rounding(found, expected, terms(supernet.space, [SMALLEST], images))


@pytest.mark.parametrize("space", ALL, ids=lambda space: space.name)
def test_it_can_be_traced(space):
    """By torch.fx, on which the graphs for onnxruntime rest."""
    arch = random_arch(space, random.Random(0))
    subnet, images = Subnet(space, arch, num_classes=10).eval(), torch.randn(2, 1, 8, 8)
    assert torch.equal(torch.fx.symbolic_trace(subnet)(images), subnet(images))


def test_its_state_dict_makes_it_again(shared):
    subnet = extract(shared("px8", 2), SMALLEST)
    images = torch.randn(2, 1, 8, 8)
    subnet(images)
    file = io.BytesIO()
    torch.save(subnet.state_dict(), file)
    again = Subnet(PX8, SMALLEST, num_classes=10)
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert torch.equal(again.eval()(images), subnet.eval()(images))


def test_a_fresh_one_learns():
    torch.manual_seed(0)
    subnet = Subnet(PX8, SMALLEST, num_classes=10)
    optimizer = torch.optim.SGD(subnet.parameters(), lr=0.3, momentum=0.9)
    images, labels = torch.randn(20, 1, 8, 8), torch.arange(20) % 10
    losses = []
    for _ in range(20):
        losses.append(nn.functional.cross_entropy(subnet(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("space", [*SPACES.values(), *ALL], ids=lambda space: space.name)
def test_multiply_adds_and_parameters_are_those_that_torch_counts(space):
    for arch in (random_arch(space, random.Random(0)), *ends(space)):
        with torch.device("meta"):
            subnet, images = Subnet(space, arch, 10), torch.randn(2, space.in_channels, *(space.resolution,) * 2)
            with FlopCounterMode(display=False) as counter:
                subnet(images)
        cost = space.cost(arch, num_classes=10)
        assert counter.get_total_flops() == 2 * len(images) * cost.macs
        assert sum(parameter.numel() for parameter in subnet.parameters()) == cost.params
