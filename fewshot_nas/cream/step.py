"""One search step: a sampled path learns from the labels and from a prioritized path (arXiv:2010.15821)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cream.matching import Guidance, Matching, guide, meta_gradients
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.board import Board, BoardEntry


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """The settings of the teaching.

    Attributes:
        start_epoch: number of epochs, at the beginning, in which paths learn from labels only.
        slice: number of images that a board entry keeps, and of each half of a meta update.
        every: batches between two with a teacher; the paths of the others learn from labels only.
        update_every: batches between two meta updates.
        smoothing: label smoothing.
    """

    start_epoch: int = 20
    pick: Literal["meta", "top1"] = "meta"
    slice: int = 4
    every: int = 1
    update_every: int = 200
    smoothing: float = 0.1

    def teaches(self, epoch: int, board: Board[Arch], batch: int) -> bool:
        """Whether the path of this batch has a teacher; epochs are counted from 1, the batches of one from 0."""
        return self._begun(epoch, board) and batch % self.every == 0

    def updates(self, epoch: int, board: Board[Arch], batch: int) -> bool:
        """Whether the matching network learns from this batch."""
        return self.pick == "meta" and self._begun(epoch, board) and batch % self.update_every == 0

    def _begun(self, epoch: int, board: Board[Arch]) -> bool:
        return epoch > self.start_epoch and len(board) > 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """The loss of a step, with its graph, and the path's logits [B, classes]."""

    loss: Tensor
    logits: Tensor


def search_loss(
    supernet: Supernet,
    path: Arch,
    images: Tensor,
    labels: Tensor,
    guidance: Guidance[Arch] | None,
    smoothing: float,
) -> Outcome:
    """The loss of a path on a batch.
    Args:
        images: [B, C, H, W], normalised.
        labels: [B] class indices.
        guidance: the path's teacher; None if it learns from the labels only.
        smoothing: label smoothing.
    """
    logits = supernet(images, path)
    if guidance is None:
        return Outcome(F.cross_entropy(logits, labels, label_smoothing=smoothing), logits)
    taught = teacher_probabilities(supernet, guidance.teacher.candidate, images)
    return Outcome(guided_loss(logits, labels, taught, guidance.rho, smoothing), logits)


def guidance_for(
    supernet: Supernet, path: Arch, board: Board[Arch], matching: Matching, pick: Literal["meta", "top1"]
) -> Guidance[Arch]:
    """Choose the teacher of a path."""
    return guide(board, matching, lambda images: supernet(images, path), pick)


def teacher_probabilities(supernet: Supernet, teacher: Arch, images: Tensor) -> Tensor:
    """The probabilities of a path for a batch [B, classes], without gradient."""
    with torch.no_grad():
        probabilities: Tensor = supernet(images, teacher).softmax(1)
    return probabilities


def guided_loss(logits: Tensor, labels: Tensor, taught: Tensor, rho: Tensor, smoothing: float = 0.0) -> Tensor:
    """The loss [rho * KD + (2 - rho) * CE] / 2; rho gets no gradient.

    Args:
        taught: the teacher's probabilities [B, classes].
    """
    weight = rho.detach()
    distillation = F.cross_entropy(logits, taught)
    return (weight * distillation + (2 - weight) * F.cross_entropy(logits, labels, label_smoothing=smoothing)) / 2


def meta_update(
    supernet: Supernet,
    path: Arch,
    images: Tensor,
    labels: Tensor,
    *,
    guidance: Guidance[Arch],
    matching: Matching,
    size: int,
    rate: float,
) -> None:
    """Compute the gradients of the matching network's parameters, and no others; its optimizer takes the step later.

    The first slice of the batch is for distillation, the second for validation. Several processes
    average these gradients before the step.

    Args:
        images: [B, C, H, W], at least two slices.
        guidance: the path's teacher, as the matching network chooses it.
        size: images of a slice.
        rate: the supernet's learning rate at this step.
    """
    assert len(images) >= 2 * size, f"{len(images)} images are fewer than two slices of {size}"
    first, second = slice(size), slice(size, 2 * size)
    taught = teacher_probabilities(supernet, guidance.teacher.candidate, images[first])
    parameters = tuple(matching.parameters())
    gradients = meta_gradients(
        guidance.rho,
        parameters,
        tuple(supernet.parameters()),
        lambda: F.cross_entropy(supernet(images[first], path), taught),
        lambda: F.cross_entropy(supernet(images[second], path), labels[second]),
        rate,
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def entry_for(path: Arch, cost: float, images: Tensor, logits: Tensor, images_kept: int) -> BoardEntry[Arch]:
    """The board entry of a path, without its accuracy.

    Args:
        images, logits: of the batch; the first `images_kept` are copied.
    """
    assert len(images) >= images_kept, f"{len(images)} images are fewer than a slice of {images_kept}"
    kept = slice(images_kept)
    return BoardEntry(path, math.nan, cost, images[kept].detach().clone(), logits[kept].detach().softmax(1))


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of a batch that is classified correctly, from 0 to 1, as a scalar on the batch's device."""
    return (logits.argmax(1) == labels).float().mean()
