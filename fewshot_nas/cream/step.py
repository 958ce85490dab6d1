"""One search step: a sampled path learns from the labels and from a prioritized path (arXiv:2010.15821)."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cream.matching import Guidance, Matching, guide, meta_gradients
from fewshot_nas.cream.paths import CreamPath
from fewshot_nas.cream.supernet import CreamSupernet, batch_statistics
from fewshot_nas.training.board import Board, BoardEntry


@dataclass(frozen=True)
class Teaching:
    """How a search teaches.

    Attributes:
        start_epoch: for so many epochs paths learn from labels alone.
        slice: images that an entry keeps, and that each half of a meta update takes.
        update_every: batches between two meta updates.
        smoothing: of the labels.
    """

    start_epoch: int = 20
    pick: Literal["meta", "top1"] = "meta"
    slice: int = 4
    update_every: int = 200
    smoothing: float = 0.1

    def begun(self, epoch: int, board: Board[CreamPath]) -> bool:
        """Whether paths are taught in this epoch, counted from 1."""
        return epoch > self.start_epoch and len(board) > 0

    def updates(self, epoch: int, board: Board[CreamPath], batch: int) -> bool:
        """Whether the matching network learns from this batch, counted from 0, of the epoch."""
        return self.pick == "meta" and self.begun(epoch, board) and batch % self.update_every == 0


@dataclass(frozen=True, eq=False)
class Outcome:
    """A step's loss, to differentiate, and the path's logits [B, classes]."""

    loss: Tensor
    logits: Tensor


def search_loss(
    supernet: CreamSupernet,
    path: CreamPath,
    images: Tensor,
    labels: Tensor,
    *,
    board: Board[CreamPath],
    matching: Matching,
    teaching: Teaching,
    epoch: int,
) -> Outcome:
    """The loss of a path on a batch. Nothing is changed but the batch norms of the path itself.

    Args:
        images: [B, C, H, W], normalised.
        labels: [B] class indices.
        epoch: counted from 1.
    """
    logits = supernet(images, path)
    if not teaching.begun(epoch, board):
        return Outcome(F.cross_entropy(logits, labels, label_smoothing=teaching.smoothing), logits)
    guidance = guidance_for(supernet, path, board, matching, teaching.pick)
    taught = teacher_probabilities(supernet, guidance.teacher.candidate, images)
    loss = guided_loss(logits, labels, taught, guidance.rho, teaching.smoothing)
    return Outcome(loss, logits)


def guidance_for(
    supernet: CreamSupernet, path: CreamPath, board: Board[CreamPath], matching: Matching, pick: Literal["meta", "top1"]
) -> Guidance[CreamPath]:
    """The teacher of a path; batch norms keep their statistics."""
    with batch_statistics(supernet):
        return guide(board, matching, lambda images: supernet(images, path), pick)


def teacher_probabilities(supernet: CreamSupernet, teacher: CreamPath, images: Tensor) -> Tensor:
    """What a path thinks of a batch [B, classes], without gradient; batch norms keep their statistics."""
    with torch.no_grad(), batch_statistics(supernet):
        probabilities: Tensor = supernet(images, teacher).softmax(1)
    return probabilities


def guided_loss(logits: Tensor, labels: Tensor, taught: Tensor, rho: Tensor, smoothing: float = 0.0) -> Tensor:
    """[rho * KD + (2 - rho) * CE] / 2; rho gets no gradient.

    Args:
        taught: the teacher's probabilities [B, classes].
    """
    weight = rho.detach()
    distillation = F.cross_entropy(logits, taught)
    return (weight * distillation + (2 - weight) * F.cross_entropy(logits, labels, label_smoothing=smoothing)) / 2


def meta_update(
    supernet: CreamSupernet,
    path: CreamPath,
    images: Tensor,
    labels: Tensor,
    *,
    board: Board[CreamPath],
    matching: Matching,
    teaching: Teaching,
    rate: float,
) -> None:
    """Put gradients on the matching network, and on nothing else; its optimizer takes the step.

    The batch's first slice is for distillation, the second for validation. Several processes
    average these gradients before the step.

    Args:
        images: [B, C, H, W], at least two slices.
        rate: the supernet's learning rate, for the step ahead.
    """
    assert len(images) >= 2 * teaching.slice, f"{len(images)} images are no two slices of {teaching.slice}"
    first, second = slice(teaching.slice), slice(teaching.slice, 2 * teaching.slice)
    guidance = guidance_for(supernet, path, board, matching, "meta")
    taught = teacher_probabilities(supernet, guidance.teacher.candidate, images[first])
    judges = tuple(matching.parameters())
    with batch_statistics(supernet):
        gradients = meta_gradients(
            guidance.rho,
            judges,
            tuple(supernet.parameters()),
            lambda: F.cross_entropy(supernet(images[first], path), taught),
            lambda: F.cross_entropy(supernet(images[second], path), labels[second]),
            rate,
        )
    for judge, gradient in zip(judges, gradients, strict=True):
        judge.grad = gradient


def entry_for(
    path: CreamPath, cost: float, images: Tensor, logits: Tensor, teaching: Teaching
) -> BoardEntry[CreamPath]:
    """A path as it may be offered to the board, once its accuracy is known.

    Args:
        images, logits: of the batch; the first slice is copied.
    """
    kept = slice(teaching.slice)
    assert len(images) >= teaching.slice, f"{len(images)} images are no slice of {teaching.slice}"
    return BoardEntry(path, math.nan, cost, images[kept].detach().clone(), logits[kept].detach().softmax(1))


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of a batch are guessed right, from 0 to 1, as a scalar on its device."""
    return (logits.argmax(1) == labels).float().mean()
