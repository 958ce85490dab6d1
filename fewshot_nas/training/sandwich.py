"""One training step of a supernet: a sandwich of the largest, sampled and the smallest (arXiv:2003.11142)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.models.slicing import run
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import fair_arch, largest, random_arch, smallest
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.training.convolution import convolve
from fewshot_nas.training.gradients import Leaves

ENDS = ("largest", "smallest")


@dataclass(frozen=True)
class Sampler:
    """Which archs a step trains: a pure function of the step, so that every process agrees.

    Attributes:
        digits: the digits 1..n of each stage that are drawn.
        fair: draw strictly fairly (FairNAS, arXiv:1907.01845) instead of uniformly.
        middle: how many archs are drawn between the largest and the smallest.
        resolutions: image sizes to draw from, ascending; empty leaves images as they are.
        drawn_outs: give both ends out digits that are drawn for each step, so that all out
            widths are trained alike; else they are the largest and the smallest of the space, whose widths
            are then trained at every step and the ones between rarely.
    """

    space: SearchSpace
    seed: int
    digits: Sequence[int]
    fair: bool
    middle: int
    resolutions: Sequence[int] = ()
    drawn_outs: bool = False

    def archs(self, step: int) -> list[Arch]:
        """The largest, the drawn ones, the smallest."""
        draws = range(step * self.middle, (step + 1) * self.middle)
        if self.fair:
            drawn = [fair_arch(self.space, self.seed, draw, self.digits) for draw in draws]
        else:
            drawn = [random_arch(self.space, random.Random(f"{self.seed}/arch/{draw}"), self.digits) for draw in draws]
        if not self.drawn_outs:
            return [largest(self.space), *drawn, smallest(self.space, self.digits)]
        first, last = (
            random_arch(self.space, random.Random(f"{self.seed}/{end}/{step}"), self.digits).outs for end in ENDS
        )
        return [largest(self.space, first), *drawn, smallest(self.space, self.digits, last)]

    def sizes(self, step: int) -> list[int | None]:
        """The image size of each arch of the step: the largest, drawn ones, the smallest."""
        if not self.resolutions:
            return [None] * (self.middle + 2)
        rng = random.Random(f"{self.seed}/size/{step}")
        drawn = [self.resolutions[int(rng.random() * len(self.resolutions))] for _ in range(self.middle)]
        return [max(self.resolutions), *drawn, min(self.resolutions)]


@dataclass(frozen=True)
class Regularization:
    """What the largest subnet of a step gets; labels are smoothed for all that learn from them."""

    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_connect: float = 0.0


def sandwich(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    archs: Sequence[Arch],
    sizes: Sequence[int | None],
    regularization: Regularization,
    precision: Literal["fp32", "bf16"] = "fp32",
    teachers: Sequence[Arch | None] = (),
) -> Tensor:
    """Add the gradients of all archs' losses to the supernet's parameters.

    The first arch, the largest, learns from the labels; the others learn its detached logits, or
    those of other teachers on images of its size, one forward more for each such teacher, or the
    labels too.

    Args:
        images: [B, C, H, W], normalised.
        labels: [B] class indices.
        sizes: image side for each arch, None for the images' own.
        teachers: of each arch after the first, None for the labels; the first arch if empty.

    Returns:
        The loss of each arch [archs].
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    leaves = Leaves(dtype)

    def forward(arch: Arch, size: int | None, dropout: float = 0.0, drop_connect: float = 0.0) -> Tensor:
        weights, inputs = supernet.weights(arch, leaves), resized(images, size)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return run(weights, inputs, dropout=dropout, drop_connect=drop_connect, convolve=convolve).float()

    logits = forward(archs[0], sizes[0], regularization.dropout, regularization.drop_connect)
    losses = [_backward(F.cross_entropy(logits, labels, label_smoothing=regularization.label_smoothing))]
    answers: dict[Arch | None, Tensor] = {None: labels, archs[0]: logits.detach().softmax(1)}
    for arch, size, teacher in zip(archs[1:], sizes[1:], teachers or [archs[0]] * (len(archs) - 1), strict=True):
        if teacher is not None and teacher not in answers:
            with torch.no_grad():
                answers[teacher] = forward(teacher, sizes[0]).softmax(1)
        smoothing = regularization.label_smoothing if teacher is None else 0.0
        losses.append(_backward(F.cross_entropy(forward(arch, size), answers[teacher], label_smoothing=smoothing)))
    return torch.stack(losses)


def _backward(loss: Tensor) -> Tensor:
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def resized(images: Tensor, size: int | None) -> Tensor:
    """Images [B, C, H, W] at another side."""
    if size is None or images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
