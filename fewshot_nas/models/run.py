"""What blocks compute: the only statement of the arithmetic.

Training, calibration, folded scoring, single networks and timing all call `run`. They differ in what a unit is (the
weights of one operation: slices of a supernet, leaves for gradients, folded kernels, modules) and in `apply`, which
convolves, normalises, adds and activates with it: where a library has one kernel for all of it, that is one call.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import stochastic_depth

from fewshot_nas.models.batch import BatchShare, Running, WholeBatchNorm, dropped
from fewshot_nas.space.block import Act, Block, Head, Op

EPS = 1e-5  # of every batch norm
DROPPED_STAGES = 2  # the last stages, the only ones with drop connect


class Gate(NamedTuple):
    """The two 1x1 convolutions of a squeeze-and-excitation: [squeeze, out, 1, 1], [squeeze], and the way back."""

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor


class Unit(Protocol):
    """The weights of one operation, in whatever form `apply` takes them."""

    @property
    def gate(self) -> Gate | None:
        """The squeeze-and-excitation of the operation, if it has one."""


U = TypeVar("U", bound=Unit)
U_ = TypeVar("U_", bound=Unit, contravariant=True)


class Apply(Protocol[U_]):
    """Convolves [B, inputs, H, W], padded by half the kernel; normalises; adds `plus`, if given; activates."""

    def __call__(self, op: Op, unit: U_, x: Tensor, plus: Tensor | None = None, /) -> Tensor: ...


class ConvNorm(NamedTuple):
    """A convolution without bias and the batch norm after it, as tensors."""

    conv: Tensor  # [out, inputs / groups, kernel, kernel]
    weight: Tensor  # [out]
    bias: Tensor  # [out]
    gate: Gate | None = None

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, in the order of a `Layer`'s parameters."""
        yield from (self.conv, self.weight, self.bias)
        yield from self.gate or ()


class BlockTensors(NamedTuple):
    """The tensors of a block, and the stage that it stands in."""

    block: Block
    stage: int
    main: tuple[ConvNorm, ...]
    shortcut: tuple[ConvNorm, ...]


class HeadTensors(NamedTuple):
    """The layers after the mean over pixels: weight and bias of a hidden layer or None, and those of the classifier."""

    head: Head
    hidden: tuple[Tensor, Tensor] | None
    weight: Tensor  # [classes, inputs]
    bias: Tensor  # [classes]


class SubnetTensors(NamedTuple):
    """All tensors of a subnet; the first block is the stem."""

    blocks: tuple[BlockTensors, ...]
    head: HeadTensors

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor once, in the order of a static `Subnet`'s parameters."""
        for block in self.blocks:
            for unit in (*block.main, *block.shortcut):
                yield from unit.tensors()
        yield from self.head.hidden or ()
        yield from (self.head.weight, self.head.bias)


_FEWEST = 8  # channels of a processor's vector


def _writes_beyond(x: Tensor, weight: Tensor, stride: int) -> bool:
    """Whether the gradient of this weight may be written beyond its memory, which ends the process or changes numbers.

    oneDNN 3.12 (of torch 2.14) does so on processors with AVX2 and no AVX-512, for strided 1x1 convolutions of fewer
    than 7 channels in channels-last order.
    """
    return stride > 1 and weight.shape[-1] == 1 and x.shape[1] < _FEWEST and x.device.type == "cpu"


class Convolve(Protocol):
    """Convolves [B, inputs, H, W], padded by half the kernel."""

    def __call__(self, x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor: ...


def convolve_plainly(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """torch's own convolution."""
    if torch.is_grad_enabled() and _writes_beyond(x, weight, stride):
        x, stride = x[:, :, ::stride, ::stride], 1  # the same pixels
    # A sliced weight needs no `.contiguous()`: torch does that before it chooses a kernel.
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)


def batch_norm(convolve: Convolve = convolve_plainly, share: BatchShare | None = None) -> Apply[ConvNorm]:
    """Convolve, then normalise by the statistics of the batch, as supernets always do."""

    def apply(op: Op, unit: ConvNorm, x: Tensor, plus: Tensor | None = None) -> Tensor:
        x = convolve(x, unit.conv, op.stride, op.groups)
        return ended(op, normalised(x, unit.weight, unit.bias, share), plus)

    return apply


def normalised(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    share: BatchShare | None = None,
    running: Running | None = None,
    momentum: float = 0.0,
) -> Tensor:
    """Maps [B, C, H, W], normalised by the statistics of the batch.

    Args:
        share: of the batch, if several processes have it.
        running: takes in the statistics, in place.
        momentum: with which it does.
    """
    if share is None or not share.sync_norms:
        own_mean, own_var = running or (None, None)
        return F.batch_norm(x, own_mean, own_var, weight, bias, training=True, momentum=momentum, eps=EPS)
    y: Tensor
    y, mean, var, count = WholeBatchNorm.apply(x, weight, bias, EPS)
    if running is not None:
        running[0].lerp_(mean, momentum)
        running[1].lerp_(var * count / (count - 1), momentum)
    return y


def run(
    block: Block,
    main: Sequence[U],
    shortcut: Sequence[U],
    x: Tensor,
    apply: Apply[U],
    *,
    drop_connect: float = 0.0,
    share: BatchShare | None = None,
    first: Tensor | None = None,
    projected: Tensor | None = None,
) -> Tensor:
    """The output of a block for [B, inputs, H, W].

    Args:
        main, shortcut: the weights of the block's operations.
        drop_connect: the probability that an image skips the main path; the other images' results
            are scaled up to keep the mean (stochastic depth, arXiv:1603.09382).
        share: of the batch, if several processes have it.
        first: the output of the first operation, if it is known.
        projected: the output of the shortcut's operation, if it is known.
    """
    if not block.main:
        return x
    ops = [*zip(block.main, main, strict=True)]
    y = x if first is None else first
    last, unit = ops[-1]
    # The sum with the shortcut and what follows it belong to the last operation, if nothing stands between.
    joins = last.act == "none" and unit.gate is None and drop_connect == 0 and (first is None or len(ops) > 1)
    for op, each in ops[first is not None : len(ops) - joins]:
        y = run_op(op, each, y, apply)
    plus = None if block.shortcut is None else projected
    if block.shortcut is not None and plus is None:
        plus = x
        for op, each in zip(block.shortcut, shortcut, strict=True):
            plus = run_op(op, each, plus, apply)
    if joins:
        y = apply(last._replace(act=block.after), unit, y, plus)
    elif plus is None:
        y = activate(y, block.after)
    else:
        if drop_connect > 0:
            y = dropped(y, partial(stochastic_depth, p=drop_connect, mode="row"), share, 1, 1, 1)
        y = activate(y + plus, block.after)
    return F.max_pool2d(y, 3, 2, 1) if block.pool else y


def run_op(op: Op, unit: U, x: Tensor, apply: Apply[U]) -> Tensor:
    """The output [B, out, H', W'] of one operation, with its squeeze-and-excitation."""
    x = apply(op, unit, x)
    return gated(x, unit.gate) if unit.gate is not None else x


def ended(op: Op, y: Tensor, plus: Tensor | None) -> Tensor:
    """What an operation does after its norm: the sum and the activation, in place where autograd allows it."""
    if plus is not None:
        y = y + plus if torch.is_grad_enabled() else y.add_(plus)
    return activate(y, op.act)


def activate(x: Tensor, act: Act) -> Tensor:
    """The activation, in place where autograd allows it."""
    if act == "relu":
        return F.relu(x, inplace=True)
    if act == "silu":
        return F.silu(x, inplace=not torch.is_grad_enabled())
    return x


def gated(x: Tensor, gate: Gate) -> Tensor:
    """Channels [B, C, H, W], scaled by squeeze-and-excitation with a hard sigmoid (arXiv:1709.01507, 1905.02244)."""
    squeezed = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), gate.reduce, gate.reduce_bias), inplace=True)
    return x * F.hardsigmoid(F.conv2d(squeezed, gate.expand, gate.expand_bias))


def features(head: HeadTensors, x: Tensor) -> Tensor:
    """What the classifier takes [B, inputs], for the last map [B, C, H, W]."""
    x = x.mean((2, 3)).to(head.weight.dtype)
    if head.hidden is not None:
        x = activate(F.linear(x, *head.hidden), head.head.act)
    return x


def run_subnet(
    weights: SubnetTensors,
    images: Tensor,
    *,
    dropout: float = 0.0,
    drop_connect: float = 0.0,
    convolve: Convolve = convolve_plainly,
    share: BatchShare | None = None,
) -> Tensor:
    """Logits [B, classes] of a subnet for images [B, C, H, W].

    Args:
        dropout: the probability that a feature before the classifier is set to 0.
        drop_connect: the rate of the last block. Block n of N, counted from 1 after the stem, has
            n / N of this rate; blocks before the last two stages have none.
        convolve: how convolutions are computed.
        share: of the batch, if several processes have it; all of them have to call this.
    """
    apply, x = batch_norm(convolve, share), images
    last = weights.blocks[-1].stage
    for number, (block, stage, main, shortcut) in enumerate(weights.blocks):
        rate = drop_connect * number / (len(weights.blocks) - 1) * (stage > last - DROPPED_STAGES)
        x = run(block, main, shortcut, x, apply, drop_connect=rate, share=share)
    taken = features(weights.head, x)
    if dropout > 0:
        taken = dropped(taken, partial(F.dropout, p=dropout), share, taken.shape[1])
    logits = F.linear(taken, weights.head.weight, weights.head.bias)
    return logits if share is None else share.weighed(logits)
