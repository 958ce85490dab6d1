import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.cream.child import child_network
from fewshot_nas.cream.matching import Matching
from fewshot_nas.cream.supernet import CreamSupernet, batch_statistics
from fewshot_nas.errors import InputError
from fewshot_nas.training.optimizer import plain_groups, sgd
from tests.rounding import bound

CHOICE = st.integers(0, 5)


def parameters_of(path, supernet):
    """Names of what a path uses."""
    used = {name for name, _ in supernet.named_parameters() if name.startswith("frame.")}
    for name, _ in supernet.named_parameters():
        if not name.startswith("frame."):
            stage, place, choice = map(int, name.split(".")[1:4])
            if path[stage][place] == choice:
                used.add(name)
    return used


@pytest.mark.golden
def test_parameters_of_the_published_supernet_with_its_matching_network():
    with torch.device("meta"):
        networks = CreamSupernet((4, 4, 5, 4, 4), 1000), Matching(4, 1000)
    assert sum(parameter.numel() for network in networks for parameter in network.parameters()) == 29_809_073


@pytest.fixture(scope="module")
def trained(_first_supernet):
    return copy.deepcopy(_first_supernet).eval()


@settings(max_examples=10, deadline=None)
@given(path=st.tuples(*(st.tuples(*[CHOICE] * depth) for depth in (1, 2, 1, 1, 1))))
def test_a_path_computes_what_its_child_computes(trained, path):
    images = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.equal(trained(images, path), trained.extract(path)(images))


def test_a_child_shares_no_memory_with_the_supernet(supernet, paths, batch):
    child = supernet.eval().extract(paths[0])
    before = supernet(batch[0], paths[0])
    with torch.no_grad():
        for tensor in (*child.parameters(), *child.buffers()):
            tensor.zero_()
    assert torch.equal(supernet(batch[0], paths[0]), before)


def test_a_child_is_the_network_that_is_retrained(supernet, paths):
    child, fresh = supernet.extract(paths[0]), child_network(paths[0], 5, 1)
    assert {name: value.shape for name, value in child.state_dict().items()} == {
        name: value.shape for name, value in fresh.state_dict().items()
    }


def test_a_child_has_the_mode_of_the_supernet(supernet, paths):
    assert supernet.extract(paths[0]).training
    assert not any(module.training for module in supernet.eval().extract(paths[0]).modules())


def test_every_choice_begins_with_weights_of_its_own(supernet):
    place = supernet.stages[1][1]
    assert not torch.equal(place[0].conv_pw.weight, place[2].conv_pw.weight)


def test_gradients_reach_what_a_path_uses_and_nothing_else(supernet, paths, batch):
    supernet(batch[0], paths[0]).square().sum().backward()
    touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert touched == parameters_of(paths[0], supernet)


def test_unsampled_weights_and_their_momentum_stay(supernet, paths, batch):
    optimizer = sgd(plain_groups(supernet, 0.1), 0.9)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for path in paths[:2]:
        kept = {name: value.clone() for name, value in supernet.named_parameters()}
        momenta = {
            name: optimizer.state[value]["momentum_buffer"].clone() for name, value in supernet.named_parameters()
        }
        optimizer.zero_grad(set_to_none=True)
        supernet(batch[0], path).square().sum().backward()
        optimizer.step()
    used = parameters_of(path, supernet)
    moved = {name for name, value in supernet.named_parameters() if not torch.equal(value, kept[name])}
    accelerated = {
        name
        for name, value in supernet.named_parameters()
        if not torch.equal(optimizer.state[value]["momentum_buffer"], momenta[name])
    }
    assert moved <= used
    assert accelerated <= used
    assert len(moved) > 0.9 * len(used)
    # The first path's momentum would have moved its weights again.
    first = parameters_of(paths[0], supernet) - used
    assert any(momenta[name].any() for name in first)


def test_unsampled_norms_keep_their_statistics(supernet, paths, batch):
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    supernet(batch[0], paths[0])
    changed = {
        name.rpartition(".")[0] for name, value in supernet.named_buffers() if not torch.equal(value, before[name])
    }
    assert changed == {
        name.rpartition(".")[0]
        for name in parameters_of(paths[0], supernet)
        if f"{name.rpartition('.')[0]}.running_mean" in before
    }


def test_beside_the_training_norms_keep_their_statistics(supernet, paths, batch):
    before = {name: value.clone() for name, value in supernet.named_buffers()}
    with batch_statistics(supernet):
        beside = supernet(batch[0], paths[0])
    assert all(torch.equal(value, before[name]) for name, value in supernet.named_buffers())
    assert torch.equal(beside, supernet(batch[0], paths[0]))  # and the batch's were used


def test_norms_record_again_after_an_error(supernet):
    with pytest.raises(KeyError), batch_statistics(supernet):
        raise KeyError
    assert all(m.track_running_stats for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_choices_inherit_leading_channels_and_the_kernel_s_centre(supernet):
    supernet.inherit()
    *others, dearest = supernet.stages[1][1]
    for block in others:
        width, kernel = block.conv_dw.weight.shape[0], block.conv_dw.kernel_size[0]
        edge = (7 - kernel) // 2
        centre = dearest.conv_dw.weight[:width, :, edge : edge + kernel, edge : edge + kernel]
        assert torch.equal(block.conv_dw.weight, centre)
        assert torch.equal(block.conv_pwl.weight, dearest.conv_pwl.weight[:, :width])
        assert torch.equal(block.bn2.bias, dearest.bn2.bias[:width])
        assert block.conv_dw.weight.data_ptr() != dearest.conv_dw.weight.data_ptr()


@pytest.mark.numeric
def test_shared_weights_compute_what_is_inherited(supernet, paths, batch):
    with torch.no_grad():
        for parameter in supernet.parameters():  # so that a part differs from the weights of a choice's own
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    own = supernet(batch[0], paths[0])
    supernet.shared = True
    shared = supernet(batch[0], paths[0])
    shared.square().sum().backward()
    shared = shared.detach()
    touched = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert touched == parameters_of(((5,), (5, 5), (5,), (5,), (5,)), supernet)
    supernet.inherit()
    # A batch norm divides by the deviation of 8 numbers where a map is a single pixel: its error is that of its sum.
    allowed = bound(6 * (7**2 + 6 * 192 + 8 * 16**2 + 1280), float(shared.abs().max()))
    with torch.no_grad():
        torch.testing.assert_close(supernet(batch[0], paths[0]), shared, rtol=0, atol=allowed)
        assert float((own - shared).abs().max()) > 10 * allowed


def test_other_depths_are_refused(supernet, batch):
    with pytest.raises(
        InputError, match=r"the path has depths \(2, 2, 1, 1, 1\), expected the supernet's \(1, 2, 1, 1, 1\)"
    ):
        supernet(batch[0], ((0, 0), (0, 0), (0,), (0,), (0,)))
