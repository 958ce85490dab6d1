"""Gradients through leaves of a slice's size equal those through sliced views, four times over."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.models.supernet import part
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.training.draws import RandomArchs, Sampler, SpaceEnds
from fewshot_nas.training.gradients import Leaves
from fewshot_nas.training.loop import set_rate
from fewshot_nas.training.step import Largest, Regularization, SupernetStep
from fewshot_nas.training.supernet_task import multipliers, parameter_groups
from fewshot_nas.training.task import Batch, sgd
from tests.rounding import assert_equal_but_for_rounding, terms

pytestmark = pytest.mark.numeric

PX8 = SPACES["px8"]

PLAIN = Regularization(label_smoothing=0.1)
ALL = PX8.all_options
SAMPLER = Sampler(RandomArchs(PX8, 0, ALL), SpaceEnds(PX8, 0, ALL), middle=2)


def straightforward(network, images, labels, archs, precision="fp32"):
    """Autograd through sliced views, one backward pass per arch."""
    teacher, losses = None, []
    for arch in archs:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images, arch).float()
        if teacher is None:
            loss, teacher = F.cross_entropy(logits, labels, label_smoothing=0.1), logits.detach().softmax(1)
        else:
            loss = F.cross_entropy(logits, teacher)
        loss.backward()
        losses.append(loss.detach())
    return torch.stack(losses)


def ours(network, images, labels, archs, precision="fp32"):
    given = SimpleNamespace(archs=lambda step: archs)
    taken = SupernetStep(given, teacher=Largest(), regularization=PLAIN, precision=precision)
    return taken.backward(network, Batch(images, labels, 0)).numbers


@pytest.mark.parametrize("groups", [1, 3, 7])
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("channels_per_pixel", [0, 16])
def test_a_sandwich_has_the_gradients_of_four_backward_passes(
    supernet, batch, monkeypatch, groups, channels_last, channels_per_pixel
):
    """Whether convolutions are products or the library's."""
    monkeypatch.setattr("fewshot_nas.training.gradients._CHANNELS_PER_PIXEL", channels_per_pixel)
    one, other = (supernet(groups, channels_last=channels_last) for _ in range(2))
    archs = SAMPLER.archs(0)
    losses, expected = ours(one, *batch, archs), straightforward(other, *batch, archs)
    there, back = (terms(one.space, archs, batch[0], backward=backward) for backward in (False, True))
    assert_equal_but_for_rounding(losses, expected, there, "the loss")
    for (name, ours_), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (ours_.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            assert_equal_but_for_rounding(ours_.grad, theirs.grad, len(archs) * back, name)


def test_in_bfloat16_it_has_those_of_autocast(supernet, batch):
    one, other = supernet(3), supernet(3)
    archs = SAMPLER.archs(0)
    losses, expected = ours(one, *batch, archs, "bf16"), straightforward(other, *batch, archs, "bf16")
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=0)
    for ours_, theirs in zip(one.parameters(), other.parameters(), strict=True):
        if theirs.grad is None:
            assert ours_.grad is None
        else:
            assert ours_.grad.dtype == torch.float32
            scale = theirs.grad.abs().max().item()  # a sum of bfloat16 gradients, rounded at other places
            torch.testing.assert_close(ours_.grad, theirs.grad, rtol=0, atol=0.02 * scale)


@pytest.mark.parametrize("groups", [3, 7])
def test_what_no_arch_of_a_step_uses_has_no_gradient(supernet, batch, groups):
    network = supernet(groups)
    archs = [PX8.smallest] * 2
    ours(network, *batch, archs)
    used = {id(parameter) for parameter in used_parameters(network, archs)}
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == (id(parameter) in used), name


def used_parameters(network, archs):
    found = []
    for arch in archs:
        network.tensors(arch, lambda parameter, *sizes: found.append(parameter) or part(parameter, *sizes))
    return found


def test_what_a_step_does_not_use_keeps_weights_and_momentum(tiny, supernet, batch):
    network = supernet(3)
    optimizer = sgd(parameter_groups(network, multipliers(by_width(tiny, 3), ALL, "rule"), 0.1), 0.9)
    step(network, optimizer, batch, SAMPLER.archs(0))  # so that there is some momentum
    before = [parameter.detach().clone() for parameter in network.parameters()]
    momenta = [optimizer.state[parameter]["momentum_buffer"].clone() for parameter in network.parameters()]
    archs = [PX8.smallest] * 2
    step(network, optimizer, batch, archs)
    used = {id(parameter) for parameter in used_parameters(network, archs)}
    for parameter, weights, momentum in zip(network.parameters(), before, momenta, strict=True):
        if id(parameter) not in used:
            assert torch.equal(parameter, weights)
            assert torch.equal(optimizer.state[parameter]["momentum_buffer"], momentum)
        else:
            assert not torch.equal(parameter, weights)


def step(network, optimizer, batch, archs):
    optimizer.zero_grad()
    ours(network, *batch, archs)
    set_rate(optimizer, 0.1)
    optimizer.step()


def test_gradients_are_laid_out_as_their_parameters(supernet, batch):
    network = supernet(3)
    ours(network, *batch, SAMPLER.archs(0))
    for parameter in network.parameters():
        if parameter.grad is not None:
            dims = [dim for dim in range(parameter.ndim) if parameter.shape[dim] > 1]
            assert [parameter.grad.stride(dim) for dim in dims] == [parameter.stride(dim) for dim in dims]


def test_weights_are_cast_once_for_all_subnets(supernet):
    network, leaves = supernet(), Leaves(torch.bfloat16)
    first = leaves.weights(network, PX8.smallest).blocks[0].main[0]
    with torch.no_grad():
        network.stored((0, 0)).main[0].conv.weight += 1
    again = leaves.weights(network, PX8.smallest).blocks[0].main[0]
    assert torch.equal(again.conv, first.conv)
    assert (first.conv.dtype, first.weight.dtype) == (torch.bfloat16, torch.float32)
