"""Accuracies of networks: sums over images, and the percentages computed from them."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot_nas.results.evaluations import by_guessing


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
        """The accuracy for a number of images."""
        top1, top5, prob = (100 * each / images for each in self[:3])
        return Accuracy(top1, top5, prob, 100 * math.exp(self.log / images))


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
