"""The tensors of a subnet, and what they compute. All code that needs a subnet's weights uses this description.

`SubnetWeights` lists the tensors of a subnet, and `run_subnet` computes with them. A supernet fills
the list with leading slices of its parameters, the training step with leaves of the same size, and
`extract` copies the tensors into a static network. The blocks are those of ResNet
(arXiv:1512.03385). A width takes the *leading* channels of the full tensors, as in once-for-all
(arXiv:1908.09791) and BigNAS (arXiv:2003.11142).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import stochastic_depth

EPS = 1e-5  # of every batch norm
DROPPED_STAGES = 2  # the last stages, the only ones with drop connect


class ConvNorm(NamedTuple):
    """A convolution without bias, padded by half its kernel, and the batch norm after it."""

    conv: Tensor  # [out, inputs, kernel, kernel]
    weight: Tensor  # [out]
    bias: Tensor  # [out]
    stride: int


class BlockWeights(NamedTuple):
    """A block's convolutions in order; `shortcut` is None if the shortcut is the identity."""

    convs: tuple[ConvNorm, ...]
    shortcut: ConvNorm | None
    stage: int


class Linear(NamedTuple):
    """The classifier."""

    weight: Tensor  # [classes, inputs]
    bias: Tensor  # [classes]


class SubnetWeights(NamedTuple):
    """All tensors of a subnet; `pool` says whether a 3x3 max pooling follows the stem."""

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
    """Turns a parameter into the tensor of a subnet; `sizes` are the sizes of its first dimensions."""

    def __call__(self, parameter: Tensor, *sizes: int) -> Tensor: ...


def leading(parameter: Tensor, *sizes: int) -> Tensor:
    """The leading slice of a tensor, as a view. Dimensions for which no size is given stay whole."""
    for dim, size in enumerate(sizes):
        # A slice that is the whole dimension would still cost the backward pass a copy of the tensor.
        if size != parameter.shape[dim]:
            parameter = parameter.narrow(dim, 0, size)
    return parameter


Convolve = Callable[[Tensor, Tensor, int], Tensor]  # of x, weight and stride, padded by half the kernel


def convolve_plainly(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """torch's own convolution."""
    # A sliced weight needs no `.contiguous()`: torch does that before it chooses a kernel.
    return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)


def conv_norm(unit: ConvNorm, x: Tensor, convolve: Convolve = convolve_plainly) -> Tensor:
    """Convolve [B, inputs, H, W], then normalise by the statistics of this batch."""
    x = convolve(x, unit.conv, unit.stride)
    return F.batch_norm(x, None, None, unit.weight, unit.bias, training=True, eps=EPS)


def run_stem(weights: SubnetWeights, images: Tensor, convolve: Convolve = convolve_plainly) -> Tensor:
    """The input of the first block for images [B, C, H, W]."""
    x = F.relu(conv_norm(weights.stem, images, convolve), inplace=True)
    return F.max_pool2d(x, 3, 2, 1) if weights.pool else x


def run_block(
    block: BlockWeights, x: Tensor, drop_connect: float = 0.0, convolve: Convolve = convolve_plainly
) -> Tensor:
    """The output of a block for [B, inputs, H, W].

    Args:
        drop_connect: the probability that an image skips the convolutions; the other images'
            residuals are scaled up to keep the mean (stochastic depth, arXiv:1603.09382).
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
            subnet, has n / N of this rate; blocks before the last two stages have none.
        convolve: how convolutions are computed.
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
