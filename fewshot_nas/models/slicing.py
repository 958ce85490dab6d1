"""A subnet's tensors, and what they compute: the one description that every user of weights shares.

`SubnetWeights` says which tensors a subnet consists of, `run_subnet` what they compute. A supernet
fills it with leading slices of its parameters, the training step with leaves that are views of
those slices, and extraction copies it into a static network. The blocks are ResNet's
(arXiv:1512.03385); a width takes the *leading* channels of the full tensors, as in
once-for-all (arXiv:1908.09791) and BigNAS (arXiv:2003.11142).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import stochastic_depth

EPS = 1e-5  # of every batch norm
DROPPED_STAGES = 2  # the last ones


class ConvNorm(NamedTuple):
    """A convolution without bias, padded by half its kernel, and the batch norm after it."""

    conv: Tensor  # [out, inputs, kernel, kernel]
    weight: Tensor  # [out]
    bias: Tensor  # [out]
    stride: int


class BlockWeights(NamedTuple):
    """A block's convolutions in order; `shortcut` is None where the identity fits."""

    convs: tuple[ConvNorm, ...]
    shortcut: ConvNorm | None
    stage: int


class Linear(NamedTuple):
    """The classifier."""

    weight: Tensor  # [classes, inputs]
    bias: Tensor  # [classes]


class SubnetWeights(NamedTuple):
    """All of a subnet; `pool` says whether a 3x3 max pooling follows the stem."""

    stem: ConvNorm
    pool: bool
    blocks: tuple[BlockWeights, ...]
    head: Linear

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor once, in the order of a static `Subnet`'s parameters."""
        yield from self.stem[:3]
        for block in self.blocks:
            for unit in (*block.convs, block.shortcut):
                if unit is not None:
                    yield from unit[:3]
        yield from self.head


class View(Protocol):
    """How a parameter becomes the tensor of a subnet; `sizes` are those of its first dimensions."""

    def __call__(self, parameter: Tensor, *sizes: int) -> Tensor: ...


def leading(parameter: Tensor, *sizes: int) -> Tensor:
    """The leading slice of a tensor, as a view; dimensions without a size stay whole."""
    for dim, size in enumerate(sizes):
        # Slicing a whole dimension away would cost the backward pass a copy of the tensor.
        if size != parameter.shape[dim]:
            parameter = parameter.narrow(dim, 0, size)
    return parameter


Convolve = Callable[[Tensor, Tensor, int], Tensor]  # of x, weight and stride, padded by half the kernel


def convolve_plainly(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The library's convolution."""
    # No `.contiguous()` on a sliced weight: torch does that before it picks a kernel.
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)


def conv_norm(unit: ConvNorm, x: Tensor, convolve: Convolve = convolve_plainly) -> Tensor:
    """Convolve [B, inputs, H, W] and normalise by the statistics of this very batch."""
    x = convolve(x, unit.conv, unit.stride)
    return F.batch_norm(x, None, None, unit.weight, unit.bias, training=True, eps=EPS)


def run_stem(weights: SubnetWeights, images: Tensor, convolve: Convolve = convolve_plainly) -> Tensor:
    """From images [B, C, H, W] to what the first block takes."""
    x = F.relu(conv_norm(weights.stem, images, convolve), inplace=True)
    return F.max_pool2d(x, 3, 2, 1) if weights.pool else x


def run_block(
    block: BlockWeights, x: Tensor, drop_connect: float = 0.0, convolve: Convolve = convolve_plainly
) -> Tensor:
    """A block on [B, inputs, H, W].

    Args:
        drop_connect: the probability that an image skips the convolutions; what survives
            is scaled up to keep the mean (stochastic depth, arXiv:1603.09382).
    """
    *convs, last = block.convs
    residual = x
    for unit in convs:
        residual = F.relu(conv_norm(unit, residual, convolve), inplace=True)
    residual = conv_norm(last, residual, convolve)
    if drop_connect > 0:
        residual = stochastic_depth(residual, drop_connect, "row")
    shortcut = conv_norm(block.shortcut, x, convolve) if block.shortcut is not None else x
    return F.relu(residual + shortcut, inplace=True)


def run_subnet(
    weights: SubnetWeights,
    images: Tensor,
    *,
    dropout: float = 0.0,
    drop_connect: float = 0.0,
    convolve: Convolve = convolve_plainly,
) -> Tensor:
    """Logits [B, classes] of a subnet for images [B, C, H, W].

    Args:
        dropout: the probability that a feature before the classifier is set to 0.
        drop_connect: the rate of the last block. Block n of N, counted from 1 over the whole
            subnet, has n / N of it; blocks outside the last two stages have none.
        convolve: another way to the same convolutions.
    """
    x = run_stem(weights, images, convolve)
    first = weights.blocks[-1].stage - DROPPED_STAGES + 1
    for number, block in enumerate(weights.blocks, start=1):
        rate = drop_connect * number / len(weights.blocks) * (block.stage >= first)
        x = run_block(block, x, rate, convolve)
    features = x.mean((2, 3))  # [B, inputs]
    if dropout > 0:
        features = F.dropout(features, dropout)
    return F.linear(features, weights.head.weight, weights.head.bias)
