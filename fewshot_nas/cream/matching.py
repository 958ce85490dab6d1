"""The matching network: it chooses the path that teaches, and the weight of its lesson (arXiv:2010.15821)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.cream.board import Board, BoardEntry

C = TypeVar("C")
Student = Callable[[Tensor], Tensor]  # images [B, C, H, W] to logits [B, classes]


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


@dataclass(frozen=True, eq=False)
class Guidance(Generic[C]):
    """The teacher, and the weight rho in (0, 1) of the distillation loss.

    rho is a scalar tensor. If the matching network chose the teacher, rho has a graph to its weights.
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
    scores = matching(_answers(student, entries), torch.stack([entry.softmax for entry in entries]))
    chosen = int(scores.argmax())
    return Guidance(entries[chosen], scores[chosen].sigmoid())


@torch.no_grad()
def _answers(student: Student, entries: Sequence[BoardEntry[C]]) -> Tensor:
    """The student's probabilities [K, S, classes] for the images of each entry."""
    distinct = {id(entry.images): entry.images for entry in entries}
    logits = student(torch.cat(list(distinct.values())))
    answers = dict(zip(distinct, logits.softmax(1).chunk(len(distinct)), strict=True))
    return torch.stack([answers[id(entry.images)] for entry in entries])


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
