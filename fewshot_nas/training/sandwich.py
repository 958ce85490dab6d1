"""One training step of a supernet: a sandwich of the largest, sampled and the smallest (arXiv:2003.11142).

A step consists of parts, each of which has one method: the sampler (`sampler.py`) chooses the archs,
the `Teacher` their teachers, and the `Loss` computes the gradients.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.convolution import convolve
from fewshot_nas.training.gradients import Leaves
from fewshot_nas.training.sampler import ImageSizes, Sampler


class Teacher(Protocol):
    """Chooses the teachers of a step's archs."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """The teacher of each arch; None if it learns from the labels, as the first arch always does."""


@dataclass(frozen=True)
class Labels:
    """`distill: none`. All archs learn from the labels."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """None for every arch."""
        return [None] * len(archs)


@dataclass(frozen=True)
class Largest:
    """`distill: sandwich`. All archs but the first learn from the first, the largest (BigNAS, arXiv:2003.11142)."""

    def teachers(self, supernet: Supernet, archs: Sequence[Arch], step: int) -> Sequence[Arch | None]:
        """The first arch teaches all others."""
        return [None] + [archs[0]] * len(archs[1:])


@dataclass(frozen=True, eq=False)
class Answer:
    """The output of an arch, and its target.

    Attributes:
        logits: [B, classes], with their graph.
        target: class indices [B], or a teacher's probabilities [B, classes].
        smoothing: label smoothing; 0 if a teacher's probabilities are the target.
    """

    arch: Arch
    logits: Tensor
    target: Tensor
    smoothing: float

    def loss(self) -> Tensor:
        """The cross-entropy, a scalar with its graph."""
        return F.cross_entropy(self.logits, self.target, label_smoothing=self.smoothing)


class Loss(Protocol):
    """The loss of a step."""

    def backward(self, answers: Iterator[Answer]) -> Tensor:
        """Add the gradients of the step to the supernet's parameters.

        Args:
            answers: of the step's archs, in order. An arch runs when its answer is requested, and its
                graph is freed when it is differentiated. So a loss that differentiates each answer
                before it requests the next one holds one graph at a time, and a loss that makes a
                list of all answers holds all graphs.

        Returns:
            The loss of each arch [archs], detached.
        """


@dataclass(frozen=True)
class PerArch:
    """Each arch has its own loss; only one graph at a time is in memory."""

    def backward(self, answers: Iterator[Answer]) -> Tensor:
        """Differentiate each loss before the next arch runs."""
        return torch.stack([*map(_differentiated, answers)])


# The values of the setting `loss`.
LOSSES: Mapping[str, Callable[[], Loss]] = MappingProxyType({"per_arch": PerArch})


def _differentiated(answer: Answer) -> Tensor:
    loss = answer.loss()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


@dataclass(frozen=True)
class Regularization:
    """The regularization of the largest subnet of a step. Labels are smoothed for all archs that learn from labels."""

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
        """Add a step's gradients to the supernet's parameters. Returns the loss of each arch [archs].

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
    """Run the archs of a step, one after the other, each when its answer is requested.

    The first arch, the largest, learns from the labels. Its detached logits serve the archs that it
    teaches. Any other teacher costs one forward pass, on images of the first arch's size.

    Args:
        leaves: make the archs' weights; where they are of bfloat16, autocast is on.
        images: [B, C, H, W], normalised.
        labels: [B] class indices.
        sizes: image side of each arch; None keeps the images' own.
        teachers: teacher of each arch; None for the labels.
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
    """Images [B, C, H, W], resized to another side."""
    if size is None or images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
