"""The engine: it scores the networks of a work unit together, and computes what they share only once.

Depth first, a batch at a time, with one output (and one half-computed block) held per level. All
calibration batches go first and leave the statistics of every batch norm; then norms are folded
into the convolutions. Last come the scoring images. What comes out equals the plain way (`naive.score_plainly`)
up to float rounding.

A GPU waits for a program that starts many small operations, and reads and writes a whole map for each of them. So
norms are folded all at once, once per unit where the folded weights fit into memory, a convolution, the sum and the
rectifier are one kernel (`CUDNN`), and the logits of many networks are scored together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.evaluation.inputs import Inputs, Sums, sums, weighed
from fewshot_nas.evaluation.prefix_tree import Leaf, Step, WorkUnit
from fewshot_nas.models.run import EPS, Apply, ConvNorm, Gate, ended, features, run, run_op
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.block import Op, Placed

AT_ONCE, AT_ONCE_ON_GPU = 1 << 20, 1 << 24


def at_once(device: torch.device) -> int:
    """The logits that are scored together, about: a batch of ImageNet has a million for each network."""
    return AT_ONCE_ON_GPU if device.type == "cuda" else AT_ONCE


class Fused(NamedTuple):
    """A library's kernels that convolve, add the bias, and activate by relu; the second adds a map before."""

    relu: Callable[..., Tensor]  # of x, kernel, bias, stride, padding, dilation, groups
    add_relu: Callable[..., Tensor]  # of x, kernel, map, its factor, bias, stride, padding, dilation, groups

    def __call__(self, op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None, plus: Tensor | None) -> Tensor:
        """The output [B, out, H', W'] of an operation that ends in relu."""
        sizes = ((op.stride,) * 2, (op.kernel // 2,) * 2, (1, 1), op.groups)
        if plus is None:
            return self.relu(x, kernel, bias, *sizes)
        return self.add_relu(x, kernel, plus, 1.0, bias, *sizes)


CUDNN = Fused(torch.cudnn_convolution_relu, torch.cudnn_convolution_add_relu)


@cache
def fused_on(device: torch.device, dtype: torch.dtype) -> Fused | None:
    """The fused kernels of a device, if it has some, and they compute what the plain ones do."""
    if device.type != "cuda" or torch.version.cuda is None or not torch.backends.cudnn.enabled:
        return None
    op = Op(8, 8, 3, 2)
    x, kernel, plus = (torch.linspace(-1, 1, side**2 * 64, device=device).view(8, 8, side, side) for side in (8, 3, 4))
    x, kernel, plus, bias = (each.to(dtype) for each in (x, kernel, plus, plus[:, 0, 0, 0]))
    try:
        for each in (None, plus):
            plain = ended(op._replace(act="relu"), F.conv2d(x, kernel, bias, op.stride, 1), each)
            if float((CUDNN(op, x, kernel, bias, each) - plain).abs().max()) > 0.05 * float(plain.abs().max()):
                return None
    except RuntimeError:
        return None
    return CUDNN


class Conv:
    """An operation's convolution and batch norm. First the norm gathers statistics, then it is a fixed affine map.

    Args:
        holds: whether the weights, as they are multiplied, are held from batch to batch.

    Attributes:
        mean, var: the gathered statistics [out]; `Statistics` gives them a place.
        shift: of the affine map [out]; None until the norm is folded.
        gate: the squeeze-and-excitation, in the precision of the activations.
    """

    def __init__(self, weights: ConvNorm, dtype: torch.dtype, *, holds: bool) -> None:
        self.weights, self._dtype, self._holds = weights, dtype, holds
        self.mean, self.var = weights.bias, weights.bias
        self.gate = Gate(*(each.to(dtype) for each in weights.gate)) if weights.gate else None
        self.shift: Tensor | None = None
        self._scale: Tensor | None = None
        self._held: Tensor | None = None

    def fold(self, scale: Tensor, shift: Tensor) -> None:
        """Fix the affine map of the norm: its scale is multiplied into the kernel."""
        self._scale, self.shift, self._held = scale, shift, None

    @property
    def kernel(self) -> Tensor:
        """The kernel [out, inputs / groups, k, k] in the precision of the activations."""
        if self._held is not None:
            return self._held
        conv = self.weights.conv
        if self._scale is None:
            # Without a memory format, a cast slice would be in contiguous order, for which kernels are slow.
            kernel = conv.to(self._dtype, memory_format=torch.channels_last)
        else:
            kernel = (conv * self._scale[:, None, None, None]).to(self._dtype)
        if conv.is_cuda:
            # cuDNN computes in this order; it would copy a slice, or a kernel in another order, for each batch.
            kernel = kernel.contiguous(memory_format=torch.channels_last)
        if self._holds:
            self._held = kernel
        return kernel

    def convolve(self, op: Op, x: Tensor) -> Tensor:
        """Convolve [B, inputs, H, W]; once the norm is folded, normalise by the gathered statistics."""
        return F.conv2d(x, self.kernel, self.shift, op.stride, op.kernel // 2, groups=op.groups)


def folded(fused: Fused | None) -> Apply[Conv]:
    """`Apply` with the folded norm, and with fused kernels where there are some."""

    def apply(op: Op, conv: Conv, x: Tensor, plus: Tensor | None = None) -> Tensor:
        # cuDNN fuses what follows a convolution of groups for few of their sizes.
        if fused and op.act == "relu" and op.groups == 1:
            return fused(op, x, conv.kernel, conv.shift, plus)
        return ended(op, conv.convolve(op, x), plus)

    return apply


def gathering(momentum: float) -> Apply[Conv]:
    """`Apply` that normalises by this batch's statistics, and adds these to the running ones."""

    def apply(op: Op, conv: Conv, x: Tensor, plus: Tensor | None = None) -> Tensor:
        weights = conv.weights
        x = conv.convolve(op, x)
        return ended(op, F.batch_norm(x, conv.mean, conv.var, weights.weight, weights.bias, True, momentum, EPS), plus)

    return apply


class Statistics:
    """The statistics of all norms of a walk, in one piece of memory: a few operations fold them all."""

    def __init__(self, convs: Sequence[Conv]) -> None:
        self._convs, self._widths = convs, [len(conv.weights.bias) for conv in convs]
        self._mean, self._var = convs[0].weights.bias.new_zeros(2, sum(self._widths))
        for conv, mean, var in zip(convs, *map(self._split, (self._mean, self._var)), strict=True):
            conv.mean, conv.var = mean, var

    def fold(self, dtype: torch.dtype) -> None:
        """Turn the statistics that convolutions have gathered into their affine maps, with shifts of this precision."""
        weight = torch.cat([conv.weights.weight for conv in self._convs])
        bias = torch.cat([conv.weights.bias for conv in self._convs])
        scale = (self._var + EPS).rsqrt_().mul_(weight)
        shift = (bias - self._mean * scale).to(dtype)
        for conv, *affine in zip(self._convs, *map(self._split, (scale, shift)), strict=True):
            conv.fold(*affine)

    def _split(self, values: Tensor) -> Sequence[Tensor]:
        return torch.split(values, self._widths)


class Node:
    """The weights of a step.

    Attributes:
        first: the block's first operation, as wide as the widest sibling needs; None if an earlier sibling has
            computed it.
        main, shortcut: weights of the block's operations.
    """

    def __init__(self, supernet: Supernet, step: Step, conv: Callable[[ConvNorm], Conv]) -> None:
        (block, home), self.step = step.placed, step
        self.first: Op | None = None
        if step.hidden:
            self.first = block.main[0]._replace(out=step.hidden)
            block = block._replace(main=(self.first, *block.main[1:]))
        tensors = supernet.block_tensors(Placed(block, home))
        self.main = [*map(conv, tensors.main)]
        self.shortcut = [*map(conv, tensors.shortcut)] if step.shortcut else []

    def convs(self) -> Iterator[Conv]:
        yield from (*(self.main if self.first else self.main[1:]), *self.shortcut)


class End:
    """The end of a network, with the weights of its head."""

    def __init__(self, supernet: Supernet, leaf: Leaf) -> None:
        self.leaf, self.head = leaf, supernet.head_tensors(*leaf.ending)


@dataclass
class Level:
    """The tensors that sibling blocks share.

    Attributes:
        x: their input.
        first: the output of the first operation, as wide as the widest sibling needs.
        projected: the output of the shortcut's operation, for siblings with an equal one.
    """

    x: Tensor
    first: Tensor | None = None
    projected: Tensor | None = None


class Walk:
    """The depth-first walk over the tree of a unit, which calibrates and scores the unit's networks."""

    def __init__(self, supernet: Supernet, unit: WorkUnit, inputs: Inputs) -> None:
        self._inputs = inputs
        self._dtype = torch.bfloat16 if inputs.precision == "bf16" else torch.float32
        self._folded = folded(fused_on(inputs.device, self._dtype))
        self._at_once = at_once(inputs.device)
        conv = partial(Conv, dtype=self._dtype, holds=inputs.holds_kernels)
        self.nodes = [
            End(supernet, step) if isinstance(step, Leaf) else Node(supernet, step, conv) for step in unit.steps
        ]
        self._sums = torch.zeros(len(unit.members), len(Sums._fields), dtype=torch.float64, device=inputs.device)

    @torch.no_grad()
    def sums(self) -> list[Sums]:
        """Sums over the scoring images, for each network of the unit."""
        self.calibrate()
        for images, labels in self._inputs.scoring_batches():
            self.score(images, labels)
        return [Sums(*each) for each in self._sums.tolist()]

    @torch.no_grad()
    def score(self, images: Tensor, labels: Tensor) -> None:
        """Add a batch to the sums of all networks."""
        for first, logits in self._together(images):
            self._sums[first : first + len(logits)] += sums(logits, labels)

    @torch.no_grad()
    def calibrate(self) -> None:
        """Set the statistics of every batch norm to their means over the calibration batches, by their images."""
        statistics = Statistics(self.convs())
        for images, momentum in weighed(self._inputs.calibration_batches()):
            for _ in self._ends(images, gathering(momentum)):
                pass
        statistics.fold(self._dtype)

    def convs(self) -> list[Conv]:
        return [conv for node in self.nodes if isinstance(node, Node) for conv in node.convs()]

    def outputs(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Go through the tree once; the number of each network, in order, with its logits [B, classes]."""
        for end, taken in self.features(images):
            yield end.leaf.number, F.linear(taken, end.head.weight, end.head.bias)

    def features(self, images: Tensor) -> Iterator[tuple[End, Tensor]]:
        """Go through the tree once; the end of each network, and what its classifier takes [B, width]."""
        for end, x in self._ends(images, self._folded):
            yield end, features(end.head, x)

    def _together(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Logits [N, B, classes] of networks whose numbers follow each other, with the first number."""
        waiting: list[Tensor] = []
        for leaf, logits in self.outputs(images):
            waiting.append(logits)
            if len(waiting) * logits.numel() >= self._at_once or leaf == len(self._sums) - 1:
                yield leaf + 1 - len(waiting), torch.stack(waiting)
                waiting.clear()

    def _ends(self, images: Tensor, apply: Apply[Conv]) -> Iterator[tuple[End, Tensor]]:
        """Go through the tree once; the end of each network with its last map [B, width, H, W]."""
        levels = [Level(images.to(self._dtype))]
        for node in self.nodes:
            if isinstance(node, End):
                yield node, levels[node.leaf.level].x
                continue
            step, block = node.step, node.step.block
            # Depth first: what lies below the parent belongs to a branch that is done, and its memory is free again.
            del levels[step.level + 1 :]
            level = levels[step.level]
            # An earlier sibling may have computed the first operation, as wide as the widest of them needs.
            first, projected = level.first, level.projected
            if node.first:
                first = run_op(node.first, node.main[0], level.x, apply)
            if node.shortcut and block.shortcut:
                projected = run_op(block.shortcut[0], node.shortcut[0], level.x, apply)
            # Held only while a later sibling needs them.
            if step.shared:
                level.first, level.projected = first, projected
            assert first is not None, "the first of siblings computes the first operation"
            # A narrower sibling takes the leading channels: its kernel is the leading slice of the widest one's.
            x = run(
                block,
                node.main,
                node.shortcut,
                level.x,
                apply,
                first=first[:, : block.main[0].out],
                projected=projected if block.shortcut else None,
            )
            levels.append(Level(x))
