"""What a block's tensors compute."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.models import run as module
from fewshot_nas.models.run import ConvNorm, Gate, batch_norm, gated, run, run_op, run_subnet
from fewshot_nas.models.supernet import BlockLayers, part
from fewshot_nas.space.block import IDENTITY, Block, Op, basic, inverted_residual
from tests.kinds import ALL, GATED, PX8
from tests.rounding import assert_equal_but_for_rounding, bound

pytestmark = pytest.mark.numeric

sizes = st.integers(1, 6)
apply = batch_norm()
LARGEST, SMALLEST = (PX8.extreme(PX8.all_options, largest=each) for each in (True, False))


def unit(op: Op) -> ConvNorm:
    conv = torch.randn(op.out, op.inputs // op.groups, op.kernel, op.kernel)
    return ConvNorm(conv, torch.rand(op.out) + 0.5, torch.randn(op.out))


def units(block: Block) -> tuple[list[ConvNorm], list[ConvNorm]]:
    return [*map(unit, block.main)], [*map(unit, block.shortcut or ())]


def test_a_part_is_a_view_of_the_first_channels_and_the_centre_of_the_kernel():
    parameter = torch.randn(6, 5, 5, 5)
    assert part(parameter, 4, 2).data_ptr() == parameter.data_ptr()
    assert torch.equal(part(parameter, 4, 2), parameter[:4, :2])
    assert torch.equal(part(parameter, 4, 2, 3, 3), parameter[:4, :2, 1:4, 1:4])
    assert torch.equal(part(parameter, 6, 5, 1, 1), parameter[:, :, 2:3, 2:3])


def test_a_whole_tensor_is_left_alone():
    parameter = torch.randn(6, 5, 3, 3)
    assert part(parameter, 6, 5, 3, 3) is part(parameter, 6, 5) is parameter


def test_there_is_no_part_larger_than_the_whole():
    with pytest.raises(RuntimeError):
        part(torch.randn(3), 4)


@given(out=sizes, inputs=sizes, kernel=st.sampled_from([1, 3, 7]), stride=st.integers(1, 2), depthwise=st.booleans())
def test_an_operation_uses_the_statistics_of_the_batch(out, inputs, kernel, stride, depthwise):
    op = Op(inputs, inputs, kernel, stride, inputs) if depthwise else Op(inputs, out, kernel, stride)
    layer, x = unit(op), torch.randn(3, inputs, 8, 8)
    y = F.conv2d(x, layer.conv, stride=stride, padding=kernel // 2, groups=op.groups)
    variance, mean = torch.var_mean(y, (0, 2, 3), correction=0, keepdim=True)
    expected = (y - mean) / (variance + 1e-5).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]
    # A deviation near 0 magnifies the rounding of what is divided by it.
    magnified = float(y.abs().max() / (variance + 1e-5).sqrt().min()) * float(layer.weight.abs().max())
    length, found = inputs * kernel**2 + y[:, 0].numel(), run_op(op, layer, x, apply)
    assert found.shape[2:] == (op_side := -(-8 // stride), op_side)
    assert float((found - expected).abs().max()) <= bound(length, magnified + float(expected.abs().max()))


def test_activations_and_gates_by_hand():
    op = Op(3, 4, 3, act="silu", squeeze=2)
    plain, x = unit(op), torch.randn(2, 3, 5, 5)
    gate = Gate(torch.randn(2, 4, 1, 1), torch.randn(2), torch.randn(4, 2, 1, 1), torch.randn(4))
    y = apply(op._replace(act="none"), plain, x)
    assert torch.equal(apply(op._replace(act="relu"), plain, x, x[:, :1]), (y + x[:, :1]).clamp(min=0))
    assert torch.equal(run_op(op._replace(act="none"), plain, x, apply), y)
    assert torch.equal(run_op(op._replace(act="relu"), plain, x, apply), y.clamp(min=0))
    y = y * torch.sigmoid(y)
    squeezed = (torch.einsum("bc,sc->bs", y.mean((2, 3)), gate.reduce[..., 0, 0]) + gate.reduce_bias).clamp(min=0)
    scale = torch.einsum("bs,cs->bc", squeezed, gate.expand[..., 0, 0]) + gate.expand_bias
    expected = y * ((scale + 3) / 6).clamp(0, 1)[..., None, None]
    assert_equal_but_for_rounding(run_op(op, plain._replace(gate=gate), x, apply), expected, 9 * 3 + 50 + 25 + 6)
    assert_equal_but_for_rounding(gated(y, gate), expected, 25 + 6)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    "block",
    [
        basic(4, 5, 4),
        basic(4, 5, 6, 2),
        basic(4, 5, 6, 2, projects=False),
        inverted_residual(4, 8, 4, 5),
        inverted_residual(4, 8, 4, 3, act="silu"),
        Block((Op(4, 6, 1, 2),), None),
        Block((Op(4, 6, 7, 2, act="relu"),), None, pool=True),
        Block((Op(4, 4, 3),), (), "relu"),
        IDENTITY,
    ],
)
def test_a_block_adds_its_shortcut_and_changes_no_input(block, grad):
    x, (main, shortcut) = torch.randn(3, 4, 8, 8), units(block)
    before = x.clone()
    with torch.set_grad_enabled(grad):  # a strided 1x1 convolution is another one where there are gradients
        y = x
        for op, each in zip(block.main, main, strict=True):
            y = run_op(op, each, y, apply)
        if block.shortcut is not None:
            y = y + (run_op(block.shortcut[0], shortcut[0], x, apply) if block.shortcut else x)
        y = y.clamp(min=0) if block.after == "relu" else y
        y = F.max_pool2d(y, 3, 2, 1) if block.pool else y
        assert torch.equal(run(block, main, shortcut, x, apply), y)
        if block.main:  # what is known already is not changed either
            first = run_op(block.main[0], main[0], x, apply)
            projected = run_op(block.shortcut[0], shortcut[0], x, apply) if block.shortcut else None
            known = first.clone()
            assert torch.equal(run(block, main, shortcut, x, apply, first=first, projected=projected), y)
            assert (len(block.main) == 1 and block.after != "none") or torch.equal(first, known)
    assert torch.equal(x, before)


def test_a_dropped_residual_leaves_the_shortcut():
    block = basic(4, 5, 6, 2)
    (main, shortcut), x = units(block), torch.randn(3, 4, 8, 8)
    expected = torch.relu(run_op(block.shortcut[0], shortcut[0], x, apply))
    assert torch.equal(run(block, main, shortcut, x, apply, drop_connect=1.0), expected)


def test_a_block_without_a_shortcut_is_never_dropped():
    block = basic(4, 5, 6, 2, projects=False)
    (main, _), x = units(block), torch.randn(3, 4, 8, 8)
    assert torch.equal(run(block, main, [], x, apply, drop_connect=1.0), run(block, main, [], x, apply))


def test_drop_connect_skips_or_rescales_whole_images():
    block, x = basic(4, 5, 4), torch.rand(64, 4, 4, 4)
    main, _ = units(block)
    residual = run_op(block.main[1], main[1], run_op(block.main[0], main[0], x, apply), apply)
    torch.manual_seed(0)
    y = run(block, main, [], x, apply, drop_connect=0.75)
    skipped = (y == x).flatten(1).all(1)
    kept = torch.isclose(y, torch.relu(x + 4 * residual), atol=1e-4).flatten(1).all(1)
    assert (skipped ^ kept).all()
    assert 0.5 < skipped.float().mean() < 0.95


def test_drop_connect_rises_linearly_in_the_last_two_stages(shared, monkeypatch):
    rates = []
    monkeypatch.setattr(module, "stochastic_depth", lambda x, p, mode: rates.append((p, mode)) or x)
    run_subnet(shared("px8", 1).tensors(SMALLEST), torch.randn(2, 1, 8, 8), drop_connect=0.8)
    assert rates == [(pytest.approx(0.8 * number / 8), "row") for number in (5, 6, 7, 8)]


def test_dropout_draws_anew_for_each_image(shared):
    weights = shared("px8", 1).tensors(LARGEST)
    alike = torch.randn(1, 1, 8, 8).expand(8, 1, 8, 8)
    assert run_subnet(weights, alike).std(0).max() < 1e-4
    assert run_subnet(weights, alike, dropout=0.5).std(0).max() > 1e-3


def test_full_dropout_leaves_the_classifiers_bias(shared):
    weights = shared("px8", 1).tensors(LARGEST)
    logits = run_subnet(weights, torch.randn(3, 1, 8, 8), dropout=1.0)
    assert torch.equal(logits, weights.head.bias.expand(3, -1))


def test_a_convolution_of_ones_own_computes_all_convolutions(shared):
    """But for those of gates, which are on one pixel."""
    weights, seen = shared(GATED, 1).tensors(GATED.largest), []

    def convolve(x, weight, stride, groups):
        seen.append((tuple(weight.shape), stride, groups))
        return module.convolve_plainly(x, weight, stride, groups)

    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(run_subnet(weights, x, convolve=convolve), run_subnet(weights, x))
    ops = [op for block in weights.blocks for op in block.block.ops()]
    assert seen == [((op.out, op.inputs // op.groups, op.kernel, op.kernel), op.stride, op.groups) for op in ops]


@pytest.mark.parametrize("space", ALL, ids=lambda space: space.name)
def test_tensors_gives_each_tensor_once(shared, space):
    weights = shared(space, 1).tensors(space.smallest)
    ops = [op for block in weights.blocks for op in block.block.ops()]
    pointers = [tensor.data_ptr() for tensor in weights.tensors()]
    count = 3 * len(ops) + 4 * sum(op.squeeze > 0 for op in ops) + (4 if weights.head.head.hidden else 2)
    assert len(set(pointers)) == len(pointers) == count


@pytest.mark.parametrize("block", [basic(4, 5, 6, 2), inverted_residual(4, 8, 4, 5, act="silu", squeeze=3)])
def test_a_module_computes_what_its_tensors_do(block):
    layers, x = BlockLayers(block, tracks=True), torch.randn(3, 4, 8, 8)
    tensors = layers.tensors(block, 0, part)
    assert torch.equal(layers.train()(x), run(block, tensors.main, tensors.shortcut, x, apply))


@pytest.mark.slow
def test_the_gradient_of_a_strided_product_of_few_channels_stays_within_its_memory():
    """In a process of its own, which ends where memory is written that is not its own (on some processors)."""
    code = """
import torch
from fewshot_nas.models.run import convolve_plainly
for inputs in range(1, 10):
    for out in (1, 2, 5, 8, 16):
        x = torch.rand(16, inputs, 8, 8).to(memory_format=torch.channels_last)
        weight = torch.rand(out, inputs, 1, 1, requires_grad=True)
        for _ in range(3):
            weight.grad = None
            y = convolve_plainly(x, weight, 2, 1)
            y.sum().backward()
        expected = torch.einsum("oi,bihw->bohw", weight.detach()[:, :, 0, 0], x[:, :, ::2, ::2])
        torch.testing.assert_close(y.detach(), expected)
        torch.testing.assert_close(weight.grad[0, :, 0, 0], x[:, :, ::2, ::2].sum((0, 2, 3)), rtol=1e-4, atol=0)
"""
    checks = {"LD_PRELOAD": "libc_malloc_debug.so.0", "MALLOC_CHECK_": "3", "OMP_NUM_THREADS": "1"}
    outcome = subprocess.run([sys.executable, "-c", code], env=os.environ | checks, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
