"""What a subnet's tensors compute."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.models import slicing
from fewshot_nas.models.slicing import BlockWeights, ConvNorm, conv_norm, leading, run_block, run_subnet
from fewshot_nas.space.sampling import largest, smallest
from fewshot_nas.space.search_space import SPACES
from tests.rounding import bound

PX8 = SPACES["px8"]

pytestmark = pytest.mark.numeric

sizes = st.integers(1, 6)


def unit(out: int, inputs: int, kernel: int = 3, stride: int = 1) -> ConvNorm:
    return ConvNorm(torch.randn(out, inputs, kernel, kernel), torch.rand(out) + 0.5, torch.randn(out), stride)


def test_leading_is_a_view_of_the_first_channels():
    parameter = torch.randn(6, 5, 3, 3)
    view = leading(parameter, 4, 2)
    assert view.data_ptr() == parameter.data_ptr()
    assert torch.equal(view, parameter[:4, :2])


def test_leading_leaves_a_whole_tensor_alone():
    parameter = torch.randn(6, 5, 3, 3)
    assert leading(parameter, 6, 5) is parameter


def test_leading_refuses_more_than_there_is():
    with pytest.raises(RuntimeError):
        leading(torch.randn(3), 4)


@given(out=sizes, inputs=sizes, kernel=st.sampled_from([1, 3, 7]), stride=st.integers(1, 2))
def test_conv_norm_uses_the_statistics_of_the_batch(out, inputs, kernel, stride):
    layer, x = unit(out, inputs, kernel, stride), torch.randn(3, inputs, 8, 8)
    y = torch.nn.functional.conv2d(x, layer.conv, stride=stride, padding=kernel // 2)
    variance, mean = torch.var_mean(y, (0, 2, 3), correction=0, keepdim=True)
    expected = (y - mean) / (variance + 1e-5).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]
    # A deviation near 0 magnifies the rounding of what is divided by it.
    magnified = float(y.abs().max() / (variance + 1e-5).sqrt().min()) * float(layer.weight.abs().max())
    length = inputs * kernel**2 + y[:, 0].numel()
    assert float((conv_norm(layer, x) - expected).abs().max()) <= bound(length, magnified + float(expected.abs().max()))


def test_a_dropped_residual_leaves_the_shortcut():
    block = BlockWeights((unit(5, 4, stride=2), unit(6, 5)), unit(6, 4, kernel=1, stride=2), stage=3)
    x = torch.randn(3, 4, 8, 8)
    assert torch.equal(run_block(block, x, drop_connect=1.0), torch.relu(conv_norm(block.shortcut, x)))


def test_drop_connect_skips_or_rescales_whole_images():
    block, x = BlockWeights((unit(5, 4), unit(4, 5)), None, stage=3), torch.rand(64, 4, 4, 4)
    first, second = block.convs
    residual = conv_norm(second, torch.relu(conv_norm(first, x)))
    torch.manual_seed(0)
    y = run_block(block, x, drop_connect=0.75)
    skipped = (y == x).flatten(1).all(1)
    kept = torch.isclose(y, torch.relu(x + 4 * residual), atol=1e-4).flatten(1).all(1)
    assert (skipped ^ kept).all()
    assert 0.5 < skipped.float().mean() < 0.95


def test_drop_connect_rises_linearly_in_the_last_two_stages(shared, monkeypatch):
    rates = []
    monkeypatch.setattr(slicing, "stochastic_depth", lambda x, rate, mode: rates.append((rate, mode)) or x)
    run_subnet(shared("px8", 1).weights(smallest(PX8)), torch.randn(2, 1, 8, 8), drop_connect=0.8)
    assert rates == [(pytest.approx(0.8 * number / 8), "row") for number in (5, 6, 7, 8)]


def test_dropout_draws_anew_for_each_image(shared):
    weights = shared("px8", 1).weights(largest(PX8))
    alike = torch.randn(1, 1, 8, 8).expand(8, 1, 8, 8)
    assert run_subnet(weights, alike).std(0).max() < 1e-4
    assert run_subnet(weights, alike, dropout=0.5).std(0).max() > 1e-3


def test_full_dropout_leaves_the_classifiers_bias(shared):
    weights = shared("px8", 1).weights(largest(PX8))
    logits = run_subnet(weights, torch.randn(3, 1, 8, 8), dropout=1.0)
    assert torch.equal(logits, weights.head.bias.expand(3, -1))


def test_tensors_gives_each_tensor_once(shared):
    weights = shared("px8", 1).weights(smallest(PX8))
    pointers = [tensor.data_ptr() for tensor in weights.tensors()]
    shortcuts = sum(block.shortcut is not None for block in weights.blocks)
    assert len(set(pointers)) == len(pointers) == 3 * (1 + 2 * 8 + shortcuts) + 2
