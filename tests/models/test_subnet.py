"""Taken out of its supernet, a subnet is the same function, and costs what the space says."""

import io
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewshot_nas.models.slicing import leading
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.cost import total_cost
from fewshot_nas.space.sampling import largest, random_arch, smallest
from fewshot_nas.space.search_space import SPACES
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8 = SPACES["px8"]

archs = st.integers(0, 2**32).map(lambda seed: random_arch(PX8, random.Random(seed)))


def twenty_two_archs() -> list[Arch]:
    rng = random.Random(7)
    return [smallest(PX8), largest(PX8), *(random_arch(PX8, rng) for _ in range(20))]


def assert_same(supernet: Supernet, arch: Arch, images: torch.Tensor) -> None:
    """Logits, and gradients on the leading slices, agree but for rounding: a kernel depends on the weights' strides."""
    supernet.zero_grad()
    subnet = extract(supernet, arch)
    sliced, static = supernet(images, arch), subnet(images)
    there, back = (terms(supernet.space, [arch], images, backward=backward) for backward in (False, True))
    assert_equal_but_for_rounding(sliced, static, there, "the logits")
    for logits in (sliced, static):
        (logits.square().sum() / 7).backward()
    gradients = supernet.weights(arch, lambda parameter, *sizes: leading(parameter.grad, *sizes))
    for gradient, (name, parameter) in zip(gradients.tensors(), subnet.named_parameters(), strict=True):
        assert_equal_but_for_rounding(gradient, parameter.grad, back, name)


@pytest.mark.parametrize("groups", [1, 2, 5, 7])
def test_sliced_equals_extracted(fresh, groups):
    supernet, images = fresh("px8", groups).double(), torch.randn(3, 1, 8, 8).double()
    for arch in twenty_two_archs():
        assert_same(supernet, arch, images)


@pytest.mark.parametrize("arch", [smallest(PX8), PX8.decode("1252233313000000223212122253130000000000006515000000")])
def test_sliced_equals_extracted_at_full_width(fresh, arch):
    assert_same(fresh("track1", 2).double(), arch, torch.randn(2, 3, 32, 32).double())


@settings(deadline=None, max_examples=6)
@given(arch=archs, space=st.sampled_from(["px8", "px28", "track1"]), resolution=st.integers(8, 40))
def test_cost_is_what_torch_counts(arch, space, resolution):
    cost = total_cost(SPACES[space], arch, resolution=resolution, num_classes=10)
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
    ours = {tensor.untyped_storage().data_ptr() for tensor in extract(supernet, largest(PX8)).state_dict().values()}
    assert not theirs & ours


def test_statistics_start_at_reset_state(shared):
    norms = [layer for layer in extract(shared("px8", 2), smallest(PX8)).modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()
        assert norm.num_batches_tracked == 0


def test_extraction_draws_no_random_number(shared):
    before = torch.get_rng_state()
    extract(shared("px8", 2), largest(PX8))
    assert torch.equal(torch.get_rng_state(), before)


def test_extraction_keeps_the_number_format(fresh):
    supernet = fresh("px8", 2).double()
    images = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    found, expected = extract(supernet, smallest(PX8))(images), supernet(images, smallest(PX8))
    assert_equal_but_for_rounding(found, expected, terms(supernet.space, [smallest(PX8)], images))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:FutureWarning")
@pytest.mark.parametrize("space", ["px28", "track1"])
def test_it_can_be_scripted(space):
    subnet = Subnet(SPACES[space], smallest(PX8), num_classes=10).eval()
    images = torch.randn(2, SPACES[space].in_channels, 32, 32)
    length = terms(SPACES[space], [smallest(PX8)], images)
    assert_equal_but_for_rounding(torch.jit.script(subnet)(images), subnet(images), length)


def test_its_state_dict_makes_it_again(shared):
    subnet = extract(shared("px8", 2), smallest(PX8))
    images = torch.randn(2, 1, 8, 8)
    subnet(images)
    file = io.BytesIO()
    torch.save(subnet.state_dict(), file)
    again = Subnet(PX8, smallest(PX8), num_classes=10)
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert torch.equal(again.eval()(images), subnet.eval()(images))


def test_a_fresh_one_learns():
    torch.manual_seed(0)
    subnet = Subnet(PX8, smallest(PX8), num_classes=10)
    optimizer = torch.optim.SGD(subnet.parameters(), lr=0.3, momentum=0.9)
    images, labels = torch.randn(20, 1, 8, 8), torch.arange(20) % 10
    losses = []
    for _ in range(20):
        losses.append(nn.functional.cross_entropy(subnet(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", sorted(SPACES))
def test_multiply_adds_are_those_that_torch_counts(name):
    space = SPACES[name]
    for arch in (smallest(space), random_arch(space, random.Random(0)), largest(space)):
        with torch.device("meta"):
            subnet, images = Subnet(space, arch, 10), torch.randn(1, space.in_channels, *(space.resolution,) * 2)
            with FlopCounterMode(display=False) as counter:
                subnet(images)
        cost = total_cost(space, arch, num_classes=10)
        assert counter.get_total_flops() == 2 * cost.macs
        assert sum(parameter.numel() for parameter in subnet.parameters()) == cost.params
