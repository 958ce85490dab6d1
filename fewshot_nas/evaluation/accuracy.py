"""What a network's guesses are worth: sums over images, and percentages made of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Accuracy:
    """In percent: images whose label is the first guess, or among the first five, and the labels' mean probability.

    The last is the accuracy of guesses drawn by the network's probabilities. It has no ties, and
    ranks archs of nearly the same accuracy where the others count a handful of images.
    """

    top1: float
    top5: float
    prob: float


class Sums(NamedTuple):
    """Over images: how many are right at the first guess, how many within five, and the labels' probabilities.

    >>> Sums(90, 99, 84.5).accuracy(100)
    Accuracy(top1=90.0, top5=99.0, prob=84.5)
    """

    top1: float
    top5: float
    prob: float

    def accuracy(self, images: int) -> Accuracy:
        """In percent of `images`."""
        return Accuracy(*(100 * each / images for each in self))


def sums(logits: Tensor, labels: Tensor) -> Tensor:
    """The three numbers of `Sums` for a batch, as float64 [..., 3] on the device of the logits.

    Args:
        logits: [..., B, classes], of one network or several.
        labels: [B].
    """
    guesses = logits.topk(min(5, logits.shape[-1])).indices == labels[:, None]  # [..., B, 5]
    wanted = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    probability = logits.double().softmax(-1).gather(-1, wanted).squeeze(-1)  # [..., B]
    return torch.stack([guesses[..., 0].sum(-1), guesses.sum((-2, -1)), probability.sum(-1)], -1)
