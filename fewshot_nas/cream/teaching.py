"""The step of a search: a path, and who teaches it (arXiv:2010.15821).

The teacher is one of the board, chosen by the matching network, which learns at times.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.cream.board import Board, BoardEntry, BoardKeeping, share_right
from fewshot_nas.cream.flops import PRIOR, Budget
from fewshot_nas.distributed import World, broadcast
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.gradients import GradientMean
from fewshot_nas.training.step import Lesson, SupernetStep
from fewshot_nas.training.task import Batch, Trained

C = TypeVar("C")
Student = Callable[[Tensor], Tensor]  # images [B, C, H, W] to logits [B, classes]


@dataclass(frozen=True)
class PathSampler:
    """Draws the path of a step. It depends on seed and step only, so all processes draw the same path."""

    seed: int
    budget: Budget
    probabilities: Sequence[float] = PRIOR
    names: Sequence[str] = ("path",)

    def archs(self, step: int) -> Sequence[Arch]:
        """The path of a step, within the budget's bounds: its only arch."""
        return [self.budget.sample(random.Random(f"{self.seed}/path/{step}"), self.probabilities)]


class Matching(nn.Module):
    """Scores how well a board entry would teach a student, from the difference of their answers.

    Args:
        images: number of images of an entry, S.
    """

    def __init__(self, images: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(images * num_classes, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scores [K] from the probabilities [K, S, classes] of the student and of the entries."""
        scores: Tensor = self.linear((student - teacher).flatten(1))
        return scores.squeeze(1)


class Guidance(NamedTuple, Generic[C]):
    """The teacher, and the weight rho in (0, 1) of the distillation loss, a scalar tensor.

    If the matching network chose the teacher, rho has a graph to its weights.
    """

    teacher: BoardEntry[C]
    rho: Tensor


def guide(board: Board[C], matching: Matching, student: Student, pick: Literal["meta", "top1"]) -> Guidance[C]:
    """Choose a teacher for the student from a board that is not empty.

    The images of all entries go through the student in one batch, so that batch norms get statistics
    of many images. Images that entries share go through once. The student gets no gradient.

    Args:
        pick: `meta` takes the entry with the highest score, and rho is the sigmoid of this score;
            `top1` takes the most accurate entry, with rho = 0.5.
    """
    entries = board.entries
    if pick == "top1":
        return Guidance(entries[0], entries[0].softmax.new_full((), 0.5))
    distinct = {id(entry.images): entry.images for entry in entries}
    with torch.no_grad():
        logits = student(torch.cat(list(distinct.values())))
        answers = dict(zip(distinct, logits.softmax(1).chunk(len(distinct)), strict=True))
        mine = torch.stack([answers[id(entry.images)] for entry in entries])
    scores = matching(mine, torch.stack([entry.softmax for entry in entries]))
    chosen = int(scores.argmax())
    return Guidance(entries[chosen], scores[chosen].sigmoid())


@dataclass(frozen=True, kw_only=True)
class BoardTeacher:
    """The teacher of a search's steps.

    Attributes:
        optimizer: of the matching network.
        per_epoch: steps of an epoch.
        rate: the supernet's learning rate of each step.
        start_epoch: number of epochs, at the beginning, in which paths learn from labels only.
        slice: number of images that a board entry keeps, and of each half of a meta update.
        every: steps between two with a teacher; the paths of the others learn from labels only.
        update_every: steps between two meta updates.
    """

    keeping: BoardKeeping
    matching: Matching
    optimizer: torch.optim.Optimizer
    per_epoch: int
    rate: Callable[[int], float]
    world: World
    start_epoch: int = 20
    pick: Literal["meta", "top1"] = "meta"
    slice: int = 4
    every: int = 1
    update_every: int = 200

    def lessons(self, supernet: Supernet, archs: Sequence[Arch], batch: Batch) -> Sequence[Lesson | None]:
        """The lesson of the step's path, once there is a board; both counts of steps begin anew in each epoch."""
        (arch,), (epoch, number) = archs, divmod(batch.step, self.per_epoch)
        if epoch < self.start_epoch:
            return [None]
        self.keeping.apply_pending(share=self.pick == "meta")
        teaches, updates = number % self.every == 0, self.pick == "meta" and number % self.update_every == 0
        if not len(self.keeping.board) or not (teaches or updates):
            return [None]
        found = guide(self.keeping.board, self.matching, lambda images: supernet(images, arch), self.pick)
        teacher = found.teacher.candidate
        if updates:
            rate, parameters = self.rate(batch.step), list(self.matching.parameters())
            images, labels = (broadcast(each[: 2 * self.slice], self.world) for each in batch[:2])
            seen = Batch(images, labels, batch.step)
            meta_update(supernet, arch, seen, teacher, found.rho, matching=self.matching, size=self.slice, rate=rate)
            GradientMean(self.world)(parameters, parameters[0].new_zeros(0))
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return [Lesson(teacher, found.rho.detach()) if teaches else None]


@dataclass(frozen=True, kw_only=True)
class PathStep(SupernetStep):
    """The step of a path; its accuracy on the batch follows its loss."""

    teacher: BoardTeacher

    def backward(self, network: Supernet, batch: Batch) -> Trained:
        (loss,), (logits,) = super().backward(network, batch)
        return Trained(torch.stack([loss, share_right(logits, batch.labels)]), [logits])


def meta_update(
    supernet: Supernet,
    arch: Arch,
    batch: Batch,
    teacher: Arch,
    rho: Tensor,
    *,
    matching: Matching,
    size: int,
    rate: float,
) -> None:
    """Compute the gradients of the matching network's parameters, and no others; its optimizer takes the step later.

    The first slice of the batch is for distillation, the second for validation. Several processes all take the
    images of the first one, and average these gradients before the step.

    Args:
        batch: at least two slices.
        teacher, rho: the teacher, as the matching network chooses it, and the weight of its lesson, with its graph.
        size: images of a slice.
        rate: the supernet's learning rate at this step.
    """
    images, labels = batch.images, batch.labels
    assert len(images) >= 2 * size, f"{len(images)} images are fewer than two slices of {size}"
    first, second = slice(size), slice(size, 2 * size)
    with torch.no_grad():
        taught = supernet(images[first], teacher).softmax(1)
    parameters = tuple(matching.parameters())
    gradients = meta_gradients(
        rho,
        parameters,
        tuple(supernet.parameters()),
        lambda: F.cross_entropy(supernet(images[first], arch), taught),
        lambda: F.cross_entropy(supernet(images[second], arch), labels[second]),
        rate,
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def meta_gradients(
    rho: Tensor,
    parameters: Sequence[Tensor],
    weights: Sequence[Tensor],
    distillation: Callable[[], Tensor],
    validation: Callable[[], Tensor],
    rate: float,
) -> tuple[Tensor, ...]:
    """The gradient, in the matching network's parameters, of the student's validation loss after its next step.

    The student steps to W' = W - rate * rho * grad KD(W), where only rho depends on the parameters. So
    the chain rule gives an inner product and needs no second derivative:
    -rate * <grad L(W'), grad KD(W)> * d rho / d parameters.

    Args:
        rho: a scalar, from `guide`.
        parameters: the parameters of the matching network.
        weights: leaves that the student computes with; their values are restored bit by bit.
        distillation: KD, the student's distillation loss with the weights at the time of the call.
        validation: L, the student's loss on other images.
        rate: learning rate of the student's step.

    Returns:
        A gradient for each of the parameters.
    """
    slopes = torch.autograd.grad(distillation(), weights, allow_unused=True)
    moved = [(weight, slope) for weight, slope in zip(weights, slopes, strict=True) if slope is not None]
    reached, steps = zip(*moved, strict=True)
    with _moved(reached, [-rate * rho.detach() * step for step in steps]):
        ahead = torch.autograd.grad(validation(), reached)
    agreement = torch.stack([(one * other).sum() for one, other in zip(ahead, steps, strict=True)]).sum()
    return torch.autograd.grad(rho, parameters, grad_outputs=-rate * agreement)


@contextmanager
def _moved(weights: Sequence[Tensor], steps: Sequence[Tensor]) -> Iterator[None]:
    """Move weights by steps, and restore them from copies; subtracting the steps would not give the same bits.

    Autocast keeps cast copies of weights, so its cache is cleared whenever the weights change.
    """
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.add_(step)
    torch.clear_autocast_cache()
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
        torch.clear_autocast_cache()
