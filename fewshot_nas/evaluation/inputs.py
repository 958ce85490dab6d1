"""The images that subnets are calibrated and scored on, decoded once and held as bytes; and the accuracies on them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fewshot_nas.data.transforms import normalize
from fewshot_nas.results.evaluations import by_guessing


@dataclass(frozen=True, eq=False)
class Inputs:
    """What every subnet of an evaluation sees.

    Attributes:
        calibration: training images, uint8 [N, C, R, R]; validation images would leak into the
            ranking.
        calibration_batch: images whose statistics are one sample of a batch norm's. The last batch may have fewer, and
            weighs less; a last one of a single image joins the batch before, which then has one image more.
        images, labels: uint8 [M, C, R, R] and int64 [M], to be scored on.
        batch: images at a time; no result depends on it beyond rounding.
        mean, std: per channel, of pixels in 0..1.
        holds_kernels: whether a unit's weights, as they are multiplied, are held from batch to batch.
        holds_images: whether the device holds all images from unit to unit.
    """

    calibration: Tensor
    calibration_batch: int
    images: Tensor
    labels: Tensor
    batch: int
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    holds_kernels: bool = False
    holds_images: bool = False

    @property
    def count(self) -> int:
        """Images that go through each subnet in all."""
        return len(self.calibration) + len(self.images)

    @property
    def nbytes(self) -> int:
        return self.calibration.nbytes + self.images.nbytes

    def on_device(self) -> "Inputs":
        """These inputs with all images on the device if `holds_images`, else unchanged."""
        if not self.holds_images:
            return self
        held = {name: getattr(self, name).to(self.device) for name in ("calibration", "images", "labels")}
        return replace(self, **held)

    @property
    def calibration_sizes(self) -> list[int]:
        whole, rest = divmod(len(self.calibration), self.calibration_batch)
        sizes = [self.calibration_batch] * whole + [rest] * (rest > 0)
        return [*sizes[:-2], sizes[-2] + 1] if whole and rest == 1 else sizes

    def calibration_batches(self) -> Iterator[Tensor]:
        """Normalised calibration images, a batch at a time."""
        return map(self._ready, torch.split(self.calibration, self.calibration_sizes))

    def scoring_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in zip(*(torch.split(each, self.batch) for each in (self.images, self.labels)), strict=True):
            yield self._ready(images), labels.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _ready(self, batch: Tensor) -> Tensor:
        return normalize(batch.to(self.device), self.mean, self.std)


def weighed(batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, float]]:
    """Calibration batches, each with the momentum by which running statistics become means over all images so far.

    Raises:
        ValueError: there is no batch.
    """
    seen = 0
    for images in batches:
        seen += len(images)
        yield images, len(images) / seen
    if not seen:
        raise ValueError("calibration needs at least one batch")


# ---- accuracies: sums over images, and the percentages computed from them --------------------------------------------


@dataclass(frozen=True)
class Accuracy:
    """In percent: images whose label is the first guess, or among the first five, and the labels' mean probabilities.

    `prob` is their arithmetic mean, the accuracy of guesses drawn by the network's probabilities. `likelihood` is
    their geometric mean, e to the power of minus the cross-entropy: a sure and wrong guess costs more there. Both
    have no ties, and rank archs of nearly the same accuracy where the others count a handful of images.
    """

    top1: float
    top5: float
    prob: float
    likelihood: float


class Sums(NamedTuple):
    """Over images: how many are right at first, how many within five, the labels' probabilities and their logarithms.

    >>> Sums(90, 99, 84.5, 0.0).accuracy(100)
    Accuracy(top1=90.0, top5=99.0, prob=84.5, likelihood=100.0)
    """

    top1: float
    top5: float
    prob: float
    log: float

    def accuracy(self, images: int) -> Accuracy:
        top1, top5, prob = (100 * each / images for each in self[:3])
        return Accuracy(top1, top5, prob, 100 * math.exp(self.log / images))


def mean_of_sides(found: Iterable[Sequence[Sums]]) -> list[Sums]:
    """The means over a supernet's sides, for each network: what one side gives comes as it is.

    >>> mean_of_sides([[Sums(90, 99, 80.0, -1.0)], [Sums(92, 99, 81.0, -2.0)]])
    [Sums(top1=91.0, top5=99.0, prob=80.5, log=-1.5)]
    """
    each = list(found)
    return [Sums(*(sum(values) / len(each) for values in zip(*one, strict=True))) for one in zip(*each, strict=True)]


def guessing(labels: Tensor) -> float:
    """The top-1 in percent that a network has to exceed to have learned anything; see `by_guessing`."""
    return by_guessing(int(labels.bincount().max()), len(labels))


def sums(logits: Tensor, labels: Tensor) -> Tensor:
    """The numbers of `Sums` for a batch, as float64 [..., 4] on the device of the logits.

    Args:
        logits: [..., B, classes], of one network or several.
        labels: [B].
    """
    guesses = logits.topk(min(5, logits.shape[-1])).indices == labels[:, None]  # [..., B, 5]
    wanted = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    exact = logits.double()
    # Both from the logits: the exponential of the logarithm would be rounded twice.
    probability, log = (each.gather(-1, wanted).squeeze(-1) for each in (exact.softmax(-1), exact.log_softmax(-1)))
    return torch.stack([guesses[..., 0].sum(-1), guesses.sum((-2, -1)), probability.sum(-1), log.sum(-1)], -1)
