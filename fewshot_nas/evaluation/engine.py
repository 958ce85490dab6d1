"""The engine: it scores the networks of a work unit together, and computes what they share only once.

Depth first, a batch at a time, with one output (and one half-computed block) held per level. All
calibration batches go first and leave the statistics of every batch norm; then norms are folded
into the convolutions. If each network is to have a classifier of its own, the images for it are next. Last come
the scoring images. What comes out equals the plain way (`naive.score_plainly`) up to float rounding.

A GPU waits for a program that starts many small operations. So norms are folded all at once, once
per unit where the folded weights fit into memory, and the logits of many networks are scored together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.evaluation.accuracy import Sums, sums
from fewshot_nas.evaluation.classifier import ClassifierFit
from fewshot_nas.evaluation.inputs import Inputs, weighed
from fewshot_nas.evaluation.prefix_tree import Step, WorkUnit
from fewshot_nas.models.slicing import EPS, ConvNorm
from fewshot_nas.models.supernet import Supernet

AT_ONCE = 1 << 20  # logits that are scored together, about


class Conv:
    """A convolution and its batch norm. First the norm gathers statistics, then it is a fixed affine map.

    Args:
        holds: whether the weights, as they are multiplied, are held from batch to batch.

    Attributes:
        mean, var: the gathered statistics [out]; `begin` gives them a place.
    """

    def __init__(self, weights: ConvNorm, dtype: torch.dtype, *, holds: bool) -> None:
        self.weights, self._dtype, self._holds = weights, dtype, holds
        self.mean, self.var = weights.bias, weights.bias
        self._scale: Tensor | None = None
        self._shift: Tensor | None = None
        self._held: Tensor | None = None

    def gather(self, x: Tensor, momentum: float) -> Tensor:
        """Convolve [B, inputs, H, W], normalise by this batch's statistics, and add these to the running ones."""
        _, weight, bias, _ = self.weights
        return F.batch_norm(self.apply(x), self.mean, self.var, weight, bias, True, momentum, EPS)

    def settle(self, scale: Tensor, shift: Tensor) -> None:
        """Fix the affine map of the norm."""
        self._scale, self._shift, self._held = scale, shift.to(self._dtype), None

    def apply(self, x: Tensor) -> Tensor:
        """Convolve [B, inputs, H, W]; once it is settled, normalise by the gathered statistics."""
        kernel = self._kernel() if self._held is None else self._held
        if self._holds:
            self._held = kernel
        return F.conv2d(x, kernel, self._shift, self.weights.stride, kernel.shape[-1] // 2)

    def _kernel(self) -> Tensor:
        conv = self.weights.conv
        if self._scale is None:
            # Without a memory format, a cast slice would be in contiguous order, for which kernels are slow.
            return conv.to(self._dtype, memory_format=torch.channels_last)
        return (conv * self._scale[:, None, None, None]).to(self._dtype)


def begin(convs: Sequence[Conv]) -> None:
    """Give convolutions a place for their statistics, in one piece of memory."""
    widths = [len(conv.weights.bias) for conv in convs]
    means, variances = convs[0].weights.bias.new_zeros(2, sum(widths))
    for conv, mean, var in zip(convs, torch.split(means, widths), torch.split(variances, widths), strict=True):
        conv.mean, conv.var = mean, var


def settle(convs: Sequence[Conv]) -> None:
    """Turn the statistics that convolutions have gathered into their affine maps, all in the same few operations."""
    scales = torch._foreach_add([conv.var for conv in convs], EPS)
    torch._foreach_rsqrt_(scales)
    torch._foreach_mul_(scales, [conv.weights.weight for conv in convs])
    means = torch._foreach_mul([conv.mean for conv in convs], scales)
    shifts = torch._foreach_sub([conv.weights.bias for conv in convs], means)
    for conv, scale, shift in zip(convs, scales, shifts, strict=True):
        conv.settle(scale, shift)


Compute = Callable[[Conv, Tensor], Tensor]


class Node:
    """The weights of a step. A part is None if the step does not compute it."""

    def __init__(self, supernet: Supernet, step: Step, conv: Callable[[ConvNorm], Conv]) -> None:
        self.step = step
        weights = supernet.block_weights(step.block, step.position, step.group)
        self.rest = [*map(conv, weights.convs[1:])]
        self.shortcut = conv(weights.shortcut) if step.shortcut and weights.shortcut else None
        self.conv1, self.head = None, None
        if step.hidden:
            widest = supernet.block_weights(step.block._replace(mid=step.hidden), step.position, step.group)
            self.conv1 = conv(widest.convs[0])
        if step.leaf >= 0:
            self.head = supernet.head_weights(step.block.out, step.group)

    def convs(self) -> Iterator[Conv]:
        """The convolutions that this step computes."""
        yield from (conv for conv in (self.conv1, *self.rest, self.shortcut) if conv)


@dataclass
class Level:
    """The tensors that sibling blocks share.

    Attributes:
        x: their input.
        hidden: the output of the first convolution, as wide as the widest sibling needs.
        shortcut: the output of the shortcut's convolution, for siblings of the same width.
    """

    x: Tensor
    hidden: Tensor | None = None
    shortcut: Tensor | None = None


class Walk:
    """The depth-first walk over the tree of a unit, which calibrates and scores the unit's networks."""

    def __init__(self, supernet: Supernet, unit: WorkUnit, inputs: Inputs) -> None:
        self._inputs, self._classes = inputs, supernet.num_classes
        self._dtype = torch.bfloat16 if inputs.precision == "bf16" else torch.float32
        self._pool = supernet.space.stem_pool
        conv = partial(Conv, dtype=self._dtype, holds=inputs.holds_kernels)
        self.stem = conv(supernet.stem_weights(unit.stem))
        self.nodes = [Node(supernet, step, conv) for step in unit.steps]
        self._sums = torch.zeros(len(unit.members), len(Sums._fields), dtype=torch.float64, device=inputs.device)

    @torch.no_grad()
    def sums(self) -> list[Sums]:
        """Sums over the scoring images, for each network of the unit."""
        self.calibrate()
        self.fit()
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
        convs = self.convs()
        begin(convs)
        for images, momentum in weighed(self._inputs.calibration_batches()):
            for _ in self._ends(images, partial(Conv.gather, momentum=momentum)):
                pass
        settle(convs)

    @torch.no_grad()
    def fit(self) -> None:
        """Give each network a classifier of its own, if there are images to fit it to."""
        fits: dict[Node, ClassifierFit] = defaultdict(partial(ClassifierFit, self._classes))
        for images, labels in self._inputs.fitting_batches():
            for node, features in self.features(images):
                fits[node].add(features, labels)
        for node, fit in fits.items():
            node.head = fit.classifier()

    def convs(self) -> list[Conv]:
        """The convolutions of the whole walk."""
        return [self.stem, *(conv for node in self.nodes for conv in node.convs())]

    def outputs(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Go through the tree once; the number of each network, in order, with its logits [B, classes]."""
        for node, features in self.features(images):
            assert node.head, "a leaf has a classifier"
            yield node.step.leaf, F.linear(features, *node.head)

    def features(self, images: Tensor) -> Iterator[tuple[Node, Tensor]]:
        """Go through the tree once; each network's last node, and what its classifier takes [B, width]."""
        for node, x in self._ends(images, Conv.apply):
            yield node, x.mean((2, 3)).float()

    def _together(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Logits [N, B, classes] of networks whose numbers follow each other, with the first number."""
        waiting: list[Tensor] = []
        for leaf, logits in self.outputs(images):
            waiting.append(logits)
            if len(waiting) * logits.numel() >= AT_ONCE or leaf == len(self._sums) - 1:
                yield leaf + 1 - len(waiting), torch.stack(waiting)
                waiting.clear()

    def _ends(self, images: Tensor, compute: Compute) -> Iterator[tuple[Node, Tensor]]:
        """Go through the tree once; each network's last node with its output [B, width, H, W]."""
        x = F.relu_(compute(self.stem, images.to(self._dtype)))
        levels = [Level(F.max_pool2d(x, 3, 2, 1) if self._pool else x)]
        for node in self.nodes:
            del levels[node.step.level + 1 :]
            block, level = node.step.block, levels[-1]
            if node.conv1:
                level.hidden = F.relu_(compute(node.conv1, level.x))
            if node.shortcut:
                level.shortcut = compute(node.shortcut, level.x)
            assert level.hidden is not None, "the first of siblings computes the hidden half"
            residual = compute(node.rest[0], level.hidden[:, : block.mid])
            for conv in node.rest[1:]:
                residual = compute(conv, F.relu_(residual))
            shortcut = level.shortcut if block.projects else level.x
            assert shortcut is not None, "the first of siblings of one width computes the shortcut"
            residual += shortcut
            levels.append(Level(F.relu_(residual)))
            if node.head:
                yield node, residual
