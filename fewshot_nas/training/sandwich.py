"""One training step of a supernet: a sandwich of the largest, sampled and the smallest (arXiv:2003.11142).

A step is made of parts, each a value with one method: who is drawn (`sampler.py`), who teaches
(`Teacher`), and what is lost (`Loss`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.models.slicing import run_subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.training.convolution import convolve
from fewshot_nas.training.gradients import Leaves
from fewshot_nas.training.sampler import ImageSizes, Sampler


class Teacher(Protocol):
    """Who teaches the archs of a step."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """The teacher of each arch; None where it learns from the labels, as the first arch always does."""


@dataclass(frozen=True)
class Labels:
    """`distill: none`. All archs learn from the labels."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """Nobody."""
        return [None] * len(archs)


@dataclass(frozen=True)
class Largest:
    """`distill: sandwich`. All archs but the first learn from the first, the largest (BigNAS, arXiv:2003.11142)."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """The first arch, for all others."""
        return [None] + [archs[0]] * len(archs[1:])


@dataclass(frozen=True, eq=False)
class Answer:
    """What an arch of the step says, and what it should say.

    Attributes:
        logits: [B, classes], with their graph.
        target: class indices [B], or a teacher's probabilities [B, classes].
        smoothing: of the labels; 0 where a teacher's probabilities are the target.
    """

    arch: Arch
    logits: Tensor
    target: Tensor
    smoothing: float

    def loss(self) -> Tensor:
        """The cross-entropy, a scalar with its graph."""
        return F.cross_entropy(self.logits, self.target, label_smoothing=self.smoothing)


class Loss(Protocol):
    """What is lost in a step."""

    def backward(self, answers: Iterator[Answer]) -> Tensor:
        """Add the gradients of the step to the supernet's parameters.

        Args:
            answers: of the step's archs, in order. An arch runs when its answer is asked for. A
                graph is freed by differentiating it, so a loss that differentiates each answer
                before it asks for the next one holds one graph at a time, and a loss that takes
                a list of all answers holds them all.

        Returns:
            The loss of each arch [archs], detached.
        """


@dataclass(frozen=True)
class PerArch:
    """Every arch loses by itself; one graph at a time is in memory."""

    def backward(self, answers: Iterator[Answer]) -> Tensor:
        """Differentiate each loss before the next arch runs."""
        return torch.stack([*map(_differentiated, answers)])


# By the names that the setting `loss` has.
LOSSES: Mapping[str, Callable[[], Loss]] = MappingProxyType({"per_arch": PerArch})


def _differentiated(answer: Answer) -> Tensor:
    loss = answer.loss()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


@dataclass(frozen=True)
class Regularization:
    """What the largest subnet of a step gets; labels are smoothed for all that learn from them."""

    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_connect: float = 0.0


@dataclass(frozen=True)
class Sandwich:
    """The parts of a step, the same for all steps of a training."""

    sampler: Sampler
    sizes: ImageSizes
    teacher: Teacher = Labels()
    loss: Loss = PerArch()
    regularization: Regularization = Regularization()
    precision: Literal["fp32", "bf16"] = "fp32"

    def backward(self, supernet: Supernet, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """Add a step's gradients to the supernet's parameters; the loss of each arch [archs].

        Args:
            images: [B, C, H, W], normalised.
            labels: [B] class indices.
        """
        archs = self.sampler.archs(step)
        teachers = self.teacher.teachers(supernet, archs, step)
        sides, leaves = self.sizes.sides(step), Leaves(torch.bfloat16 if self.precision == "bf16" else torch.float32)
        losses = self.loss.backward(
            answers(supernet, leaves, images, labels, archs, sides, teachers, self.regularization)
        )
        leaves.deposit()
        return losses


def answers(
    supernet: Supernet,
    leaves: Leaves,
    images: Tensor,
    labels: Tensor,
    archs: Sequence[Arch],
    sizes: Sequence[int | None],
    teachers: Sequence[Arch | None],
    regularization: Regularization,
) -> Iterator[Answer]:
    """Run the archs of a step, one after the other, each when it is asked for.

    The first arch, the largest, learns from the labels, and its detached logits are there for
    those that it teaches. Any other teacher costs one forward pass, on images of the first
    arch's size.

    Args:
        leaves: make the archs' weights; where they are of bfloat16, autocast is on.
        images: [B, C, H, W], normalised.
        labels: [B] class indices.
        sizes: image side for each arch, None for the images' own.
        teachers: of each arch, None for the labels.
    """

    def forward(arch: Arch, size: int | None, dropout: float = 0.0, drop_connect: float = 0.0) -> Tensor:
        weights, inputs = leaves.weights(supernet, arch), resized(images, size)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=leaves.dtype == torch.bfloat16):
            return run_subnet(weights, inputs, dropout=dropout, drop_connect=drop_connect, convolve=convolve).float()

    logits = forward(archs[0], sizes[0], regularization.dropout, regularization.drop_connect)
    yield Answer(archs[0], logits, labels, regularization.label_smoothing)
    targets: dict[Arch | None, Tensor] = {None: labels, archs[0]: logits.detach().softmax(1)}
    for arch, size, teacher in zip(archs[1:], sizes[1:], teachers[1:], strict=True):
        if teacher not in targets:
            assert teacher is not None
            with torch.no_grad():
                targets[teacher] = forward(teacher, sizes[0]).softmax(1)
        smoothing = regularization.label_smoothing if teacher is None else 0.0
        yield Answer(arch, forward(arch, size), targets[teacher], smoothing)


def resized(images: Tensor, size: int | None) -> Tensor:
    """Images [B, C, H, W] at another side."""
    if size is None or images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
