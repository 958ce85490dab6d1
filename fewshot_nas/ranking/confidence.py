"""How far a classifier's answers can be trusted: intervals of accuracies, calibration, and which answers to reject."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Numbers = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.integer[Any]]
REJECTED_PERCENT, BINS = 5, 15
Z = 1.959964  # of a 95 % interval
_HOTTEST = 20.0  # largest temperature; 1 / 20 is the smallest


def top1(right: Numbers) -> list[float]:
    """Accuracy in percent, and its 95 % interval (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    >>> top1(np.array([1.0, 1.0, 1.0, 0.0]))
    [75.0, 30.06, 95.44]
    """
    share, extra = float(right.mean()), Z**2 / len(right)
    error = Z * math.sqrt(share * (1 - share) / len(right) + extra / len(right) / 4)
    low, high = ((share + extra / 2 + way * error) / (1 + extra) for way in (-1, 1))
    return [round(100 * each, 2) for each in (share, max(0.0, low), high)]


def balanced(right: Numbers, labels: Labels) -> list[float]:
    """The mean of the classes' accuracies in percent, and its 95 % interval; a class adds one right and one wrong image
    to its own uncertainty, so that few images are never sure.

    >>> balanced(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1]))[0]
    50.0
    """
    shares, variance = [], 0.0
    for label in np.unique(labels):
        own = right[labels == label]
        shares.append(own.mean())
        share = (own.sum() + 1) / (len(own) + 2)
        variance += share * (1 - share) / (len(own) + 2)
    mean, error = float(np.mean(shares)), math.sqrt(variance) / len(shares)
    low, high = max(0.0, mean - Z * error), min(1.0, mean + Z * error)
    return [round(100 * each, 2) for each in (mean, low, high)]


def gain(one: Numbers, other: Numbers, labels: Labels | None) -> list[float]:
    """By how many points one network is better on the same images, and the 95 % interval of the difference.

    One image more that only the one has right, and one that only the other has, count for the uncertainty (Bonett and
    Price 2012, doi:10.3102/1076998611411915).

    Args:
        labels: for the mean of the classes' differences; None for that of the images'.

    >>> gain(np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0]), None)
    [50.0, -26.31, 92.97]
    """
    strata = np.zeros(len(one), int) if labels is None else labels
    value, middle, variance, classes = 0.0, 0.0, 0.0, np.unique(strata)
    for label in classes:
        difference = (one - other)[strata == label]
        more, less, count = (difference > 0).sum() + 1, (difference < 0).sum() + 1, len(difference) + 2
        value += difference.mean() / len(classes)
        middle += (more - less) / count / len(classes)
        variance += (more + less - (more - less) ** 2 / count) / count**2 / len(classes) ** 2
    error = Z * math.sqrt(variance)
    return [round(100 * float(each), 2) for each in (value, max(middle - error, -1.0), min(middle + error, 1.0))]


def temperature(logits: Numbers, labels: Labels) -> float:
    """The number by which logits [N, classes] are divided to make labels [N] likeliest (arXiv:1706.04599).

    >>> round(temperature(np.log([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])), 2)  # right in three of four
    2.0
    """

    def loss(log: float) -> float:
        return -float(_logs(logits, math.exp(log))[np.arange(len(labels)), labels].mean())

    bound = math.log(_HOTTEST)
    return round(math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x), 4)


def tempered(logits: Numbers, by: float) -> Numbers:
    """Probabilities [N, classes] of logits, or of logarithms of probabilities, at a temperature."""
    found: Numbers = np.exp(_logs(logits, by))
    return found


def as_logits(probabilities: Numbers) -> Numbers:
    """Logarithms of probabilities, which are logits too; a probability of 0 counts as 1e-30."""
    found: Numbers = np.log(np.maximum(probabilities, 1e-30))
    return found


def _logs(logits: Numbers, by: float) -> Numbers:
    scaled = logits.astype(float) / by  # scipy's log_softmax looks for torch, which need not be there
    scaled -= scaled.max(1, keepdims=True)
    logs: Numbers = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
    return logs


def calibration_error(probabilities: Numbers, labels: Labels) -> float:
    """The expected calibration error in percent: by how much confidence differs from accuracy, in 15 equal bins.

    >>> calibration_error(np.array([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1]))
    15.0
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=BINS)  # each bin's gap, times its images
    return round(100 * float(np.abs(gaps).sum()) / len(labels), 2)


def threshold(probabilities: Numbers) -> float:
    """The confidence that 5 % of the answers [N, classes] stay below.

    >>> threshold(np.array([[share, 1 - share] for share in np.linspace(0.5, 1, 101)]))
    0.525
    """
    return float(np.quantile(probabilities.max(1), REJECTED_PERCENT / 100))
