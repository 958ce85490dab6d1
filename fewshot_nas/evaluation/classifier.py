"""A subnet's own classifier, in closed form from its features of training images.

The supernet has one classifier for inputs of all widths, trained with all archs, and it suits no arch
exactly. How well it suits them differs from arch to arch, which is an error of the ranking. Linear discriminant
analysis (Fisher, Annals of Eugenics 7, 1936) needs no training: the classes' means and the features'
covariance within the classes are sums over images, gathered in the same walk that computes the features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SHRINKAGE = 0.1  # of the features' mean variance, added to each variance
TEMPERED = 1_024  # images that the temperature is fitted to
_SHARPNESS = (-7.0, 3.0)  # the logarithm of the inverse temperature is between these
_HALVINGS = 32


class ClassifierFit:
    """Gathers features of training images, then gives a classifier.

    Args:
        classes: how many there are.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._counts: Tensor | None = None
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._missing = TEMPERED

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Take in a batch.

        Args:
            features: [B, width].
            labels: class indices, [B].
        """
        x, y = features.double(), F.one_hot(labels, self._classes).double()
        if self._counts is None:
            self._counts, self._sums, self._products = y.sum(0), y.T @ x, x.T @ x
        else:
            self._counts += y.sum(0)
            self._sums += y.T @ x
            self._products += x.T @ x
        if self._missing > 0:
            self._kept.append((x[: self._missing], labels[: self._missing]))
            self._missing -= len(x)

    def classifier(self) -> tuple[Tensor, Tensor]:
        """The classifier's weight [classes, width] and bias [classes].

        Its logits are divided by the temperature that suits the first images best.

        A class without an image is never guessed.
        """
        assert self._counts is not None, "a classifier needs images"
        seen = self._counts.clamp_min(1)
        means = self._sums / seen[:, None]
        within = (self._products - means.T @ self._sums) / self._counts.sum()
        diagonal = SHRINKAGE * within.trace() / len(within)
        regular = within + diagonal.clamp_min(1e-12) * torch.eye(len(within)).to(within)
        weight = torch.linalg.solve(regular, means.T).T
        bias = -0.5 * (means * weight).sum(1)
        sharpness = self._sharpness(weight, bias)
        bias = torch.where(self._counts > 0, sharpness * bias, -torch.inf)
        return (sharpness * weight).float(), bias.float()

    def _sharpness(self, weight: Tensor, bias: Tensor) -> Tensor:
        """The inverse of the temperature with the largest likelihood of the kept images.

        The cross-entropy is convex in it, so halving finds where the slope changes its sign.
        """
        x, y = (torch.cat(each) for each in zip(*self._kept, strict=True))
        logits = F.linear(x, weight, bias)
        own = logits.gather(1, y[:, None])[:, 0]
        low, high = (torch.tensor(end).to(logits) for end in _SHARPNESS)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            expected = ((middle.exp() * logits).softmax(1) * logits).sum(1)
            falling = (expected - own).mean() < 0
            low, high = torch.where(falling, middle, low), torch.where(falling, high, middle)
        return low.exp()
