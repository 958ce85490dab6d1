"""The engine: it scores the networks of a work unit together, and computes what they share only once.

Depth first, a batch at a time, with one output (and one half-computed block) held per level. All
calibration batches go first and leave the statistics of every batch norm; then norms are folded
into the convolutions. If each network is to have a classifier of its own, the images for it are next. Last come
the scoring images. What comes out equals the plain way (`naive.score_plainly`) up to float rounding.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.evaluation.accuracy import Sums, sums
from fewshot_nas.evaluation.classifier import Fit
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.prefix_tree import Step, WorkUnit
from fewshot_nas.models.slicing import EPS, ConvNorm
from fewshot_nas.models.supernet import Supernet


class Conv:
    """A convolution and its batch norm. First the norm gathers statistics, then it is a fixed affine map."""

    def __init__(self, weights: ConvNorm, dtype: torch.dtype) -> None:
        self._weights, self._dtype = weights, dtype
        self.mean, self.var = torch.zeros_like(weights.bias), torch.ones_like(weights.bias)
        self._scale, self._shift = self.var, self.mean

    def gather(self, x: Tensor, momentum: float) -> Tensor:
        """Convolve [B, inputs, H, W], normalise by this batch's statistics, and add these to the running ones."""
        conv, weight, bias, stride = self._weights
        # Without a memory format, a cast slice would be in contiguous order, for which kernels are slow.
        cast = conv.to(self._dtype, memory_format=torch.channels_last)
        x = F.conv2d(x, cast, None, stride, conv.shape[-1] // 2)
        return F.batch_norm(x, self.mean, self.var, weight, bias, True, momentum, EPS)

    def settle(self) -> None:
        """Compute the affine map of the norm from the gathered statistics."""
        self._scale = self._weights.weight * torch.rsqrt(self.var + EPS)
        self._shift = (self._weights.bias - self.mean * self._scale).to(self._dtype)

    def apply(self, x: Tensor) -> Tensor:
        """Convolve and normalise [B, inputs, H, W] by the gathered statistics."""
        conv = self._weights.conv
        # The norm is folded again for each batch, because the folded weights of a whole unit need too much memory.
        folded = (conv * self._scale[:, None, None, None]).to(self._dtype)
        return F.conv2d(x, folded, self._shift, self._weights.stride, conv.shape[-1] // 2)


Compute = Callable[[Conv, Tensor], Tensor]


class Node:
    """The weights of a step. A part is None if the step does not compute it."""

    def __init__(self, supernet: Supernet, step: Step, dtype: torch.dtype) -> None:
        self.step = step
        weights = supernet.block_weights(step.block, step.position, step.group)
        self.rest = [Conv(each, dtype) for each in weights.convs[1:]]
        self.shortcut = Conv(weights.shortcut, dtype) if step.shortcut and weights.shortcut else None
        self.conv1, self.head = None, None
        if step.hidden:
            widest = supernet.block_weights(step.block._replace(mid=step.hidden), step.position, step.group)
            self.conv1 = Conv(widest.convs[0], dtype)
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
        self.stem = Conv(supernet.stem_weights(unit.stem), self._dtype)
        self.nodes = [Node(supernet, step, self._dtype) for step in unit.steps]
        self._sums = torch.zeros(len(unit.members), len(Sums._fields), dtype=torch.float64, device=inputs.device)

    @torch.no_grad()
    def sums(self) -> list[Sums]:
        """Sums over the scoring images, for each network of the unit."""
        self.calibrate()
        self.fit()
        for images, labels in self._inputs.scoring_batches():
            for leaf, logits in self.outputs(images):
                self._sums[leaf] += sums(logits, labels)
        return [Sums(*each) for each in self._sums.tolist()]

    @torch.no_grad()
    def calibrate(self) -> None:
        """Set the statistics of every batch norm to their means over the calibration batches."""
        batches = 0
        for batches, images in enumerate(self._inputs.calibration_batches(), start=1):
            for _ in self.outputs(images, partial(Conv.gather, momentum=1 / batches)):
                pass
        if not batches:
            raise ValueError("calibration needs at least one batch")
        for conv in (self.stem, *(conv for node in self.nodes for conv in node.convs())):
            conv.settle()

    @torch.no_grad()
    def fit(self) -> None:
        """Give each network a classifier of its own, if there are images to fit it to."""
        fits: dict[Node, Fit] = defaultdict(partial(Fit, self._classes))
        for images, labels in self._inputs.fitting_batches():
            for node, features in self.features(images):
                fits[node].add(features, labels)
        for node, fit in fits.items():
            node.head = fit.classifier()

    def outputs(self, images: Tensor, compute: Compute = Conv.apply) -> Iterator[tuple[int, Tensor]]:
        """Go through the tree once; the number of each network with its logits [B, classes]."""
        for node, features in self.features(images, compute):
            assert node.head, "a leaf has a classifier"
            yield node.step.leaf, F.linear(features, *node.head)

    def features(self, images: Tensor, compute: Compute = Conv.apply) -> Iterator[tuple[Node, Tensor]]:
        """Go through the tree once; each network's last node, and what its classifier takes [B, width]."""
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
                yield node, residual.mean((2, 3)).float()
