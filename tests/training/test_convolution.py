"""A convolution as a matrix product is a convolution."""

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.training import gradients as under_test
from fewshot_nas.training.gradients import convolve
from tests.rounding import assert_equal_but_for_rounding

pytestmark = pytest.mark.numeric

SHAPES = [(3, 1, 5), (3, 2, 5), (3, 2, 4), (3, 1, 1), (1, 2, 5), (1, 1, 3), (7, 2, 8)]  # kernel, stride, side


@pytest.fixture
def always(monkeypatch):
    """Takes the product for every shape."""
    monkeypatch.setattr(under_test, "_CHANNELS_PER_PIXEL", 0)


def tensors(kernel, side, dtype=torch.float64):
    torch.manual_seed(0)
    x = torch.randn(2, 3, side, side + 1, dtype=dtype, requires_grad=True)
    return x, torch.randn(4, 3, kernel, kernel, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize(("kernel", "stride", "side"), SHAPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_the_librarys(always, kernel, stride, side, layout):
    x, weight = (tensor.detach().to(memory_format=layout).requires_grad_() for tensor in tensors(kernel, side))
    ours, theirs = convolve(x, weight, stride, 1), F.conv2d(x, weight, None, stride, kernel // 2)
    assert_equal_but_for_rounding(ours, theirs, x.shape[1] * kernel**2)
    gradient = torch.randn_like(theirs)
    for mine, reference, length in zip(
        torch.autograd.grad(ours, (x, weight), gradient),
        torch.autograd.grad(theirs, (x, weight), gradient),
        (weight.shape[0] * kernel**2, gradient[:, 0].numel()),
        strict=True,
    ):
        assert_equal_but_for_rounding(mine, reference, length)


def test_no_gradient_is_made_that_nobody_wants(always):
    x, weight = tensors(3, 4)
    convolve(x.detach(), weight, 1, 1).sum().backward()
    assert x.grad is None
    assert weight.grad is not None


def test_autocast_makes_it_bfloat16(always):
    x, weight = tensors(3, 4, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = convolve(x, weight, 1, 1), F.conv2d(x, weight, None, 1, 1)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    # Products add up in float32, and the result is rounded to bfloat16 once.
    assert_equal_but_for_rounding(ours, theirs, 1)
    ours.float().sum().backward()
    assert x.grad.dtype == weight.grad.dtype == torch.float32


def test_few_pixels_of_many_channels_are_a_product(monkeypatch):
    monkeypatch.setattr(under_test, "_Product", None)
    few, many = torch.zeros(1, 64, 2, 2), torch.zeros(1, 64, 3, 3)
    weight = torch.zeros(8, 64, 3, 3)
    assert convolve(many, weight, 1, 1).shape == (1, 8, 3, 3)
    with pytest.raises(AttributeError):
        convolve(few, weight, 1, 1)
