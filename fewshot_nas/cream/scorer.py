"""Scores paths with a supernet's weights and batch norms of their own, and computes what they share once.

Paths that begin with the same choices form a tree, as archs of the ResNet space do (`evaluation.prefix_tree`). It is
exact: a batch's activations after a block depend on the choices before it only, and so do the block's statistics.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor, nn

from fewshot_nas.cream.paths import CreamPath
from fewshot_nas.cream.supernet import CreamSupernet
from fewshot_nas.evaluation.accuracy import Accuracy, Sums, sums
from fewshot_nas.evaluation.inputs import Inputs, weighed


@dataclass(eq=False)
class CalibratedPart:
    """A module as paths with a common beginning use it: weights of the supernet, statistics of these paths' own."""

    module: nn.Module
    norms: list[nn.BatchNorm2d] = field(init=False)
    statistics: list[tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        self.norms = [each for each in self.module.modules() if isinstance(each, nn.BatchNorm2d)]
        self.statistics = [
            (torch.zeros_like(norm.weight.detach()), torch.ones_like(norm.weight.detach())) for norm in self.norms
        ]

    def __call__(self, x: Tensor, momentum: float | None) -> Tensor:
        """Normalise by this batch's statistics and mix them in, or without a momentum by those gathered."""
        kept = [(norm.running_mean, norm.running_var, norm.momentum) for norm in self.norms]
        for norm, (mean, var) in zip(self.norms, self.statistics, strict=True):
            norm.running_mean, norm.running_var, norm.momentum = mean, var, momentum or 0.0
        self.module.train(momentum is not None)
        try:
            y: Tensor = self.module(x)
        finally:
            for norm, (own_mean, own_var, own_momentum) in zip(self.norms, kept, strict=True):
                norm.running_mean, norm.running_var, norm.momentum = own_mean, own_var, own_momentum
        return y


@dataclass(frozen=True, eq=False)
class PathNode:
    """A block of the tree, in the order of a depth-first walk; its input is the latest output of the level before.

    Attributes:
        end: what follows the last block of a path, else None.
        leaf: number of the path that ends here, or -1.
    """

    level: int
    block: CalibratedPart
    end: CalibratedPart | None
    leaf: int


class PathScorer:
    """Results are those of scoring each path's extracted network alone, up to float rounding.

    Args:
        inputs: images to calibrate and to score on.
        seen: called with the number of images that have gone through all paths.
    """

    def __init__(
        self, supernet: CreamSupernet, inputs: Inputs, seen: Callable[[int], object] = lambda images: None
    ) -> None:
        self.supernet, self.inputs, self._seen = supernet, inputs, seen

    @torch.no_grad()
    def scores(self, paths: Sequence[CreamPath]) -> list[Accuracy]:
        """Accuracy of each path, in the order given; a path may occur several times.

        Raises:
            InputError: a path is none of the supernet's.
            ValueError: there are no calibration images.
        """
        distinct = sorted(set(paths))
        with _left_alone(self.supernet):
            return self._scored(distinct, paths)

    def _scored(self, distinct: Sequence[CreamPath], paths: Sequence[CreamPath]) -> list[Accuracy]:
        stem, nodes = CalibratedPart(self.supernet.before), list(self._nodes(distinct))
        with self.inputs.autocast():
            for images, momentum in weighed(self.inputs.calibration_batches()):
                for _ in _outputs(stem, nodes, images, momentum):
                    pass
                self._seen(len(images))
            found = torch.zeros(len(distinct), len(Sums._fields), dtype=torch.float64, device=self.inputs.device)
            for images, labels in self.inputs.scoring_batches():
                for leaf, features in _outputs(stem, nodes, images, None):
                    found[leaf] += sums(self.supernet.frame.forward_head(features), labels)
                self._seen(len(images))
        each = dict(
            zip(distinct, (Sums(*row).accuracy(len(self.inputs.images)) for row in found.tolist()), strict=True)
        )
        return [each[path] for path in paths]

    def _nodes(self, distinct: Sequence[CreamPath]) -> Iterator[PathNode]:
        """The tree of sorted paths."""
        before: tuple[int, ...] = ()
        for leaf, path in enumerate(distinct):
            choices, blocks = tuple(chain.from_iterable(path)), list(self.supernet.chosen(path))
            for level in range(shared(before, choices), len(choices)):
                last = level == len(choices) - 1
                end = CalibratedPart(self.supernet.after) if last else None
                yield PathNode(level, CalibratedPart(blocks[level]), end, leaf if last else -1)
            before = choices


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many choices two paths begin with together.

    >>> shared((0, 3, 1), (0, 3, 2))
    2
    """
    return next((level for level, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _outputs(
    stem: CalibratedPart, nodes: Sequence[PathNode], images: Tensor, momentum: float | None
) -> Iterator[tuple[int, Tensor]]:
    """Go through the tree once; the number of each path with what its head is given."""
    levels = [stem(images, momentum)]
    for node in nodes:
        del levels[node.level + 1 :]
        levels.append(node.block(levels[node.level], momentum))
        if node.end:
            yield node.leaf, node.end(levels[-1], momentum)


@contextmanager
def _left_alone(supernet: CreamSupernet) -> Iterator[None]:
    """Keep the supernet's mode, and how many batches its norms have counted."""
    training = supernet.training
    counts = [(norm, norm.num_batches_tracked) for norm in supernet.modules() if isinstance(norm, nn.BatchNorm2d)]
    try:
        for norm, count in counts:
            norm.num_batches_tracked = count.clone()  # type: ignore[union-attr]
        yield
    finally:
        for norm, count in counts:
            norm.num_batches_tracked = count
        supernet.train(training)
