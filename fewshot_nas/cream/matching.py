"""Which prioritized path teaches, how much it weighs, and how that judgement learns (arXiv:2010.15821)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.training.board import Board, BoardEntry

C = TypeVar("C")
Student = Callable[[Tensor], Tensor]  # images [B, C, H, W] to logits [B, classes]


class Matching(nn.Module):
    """Scores how well a board entry would teach a student, from how their answers differ.

    Args:
        images: of an entry, S.
    """

    def __init__(self, images: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(images * num_classes, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Scores [K] from the probabilities [K, S, classes] of student and entries."""
        scores: Tensor = self.linear((student - teacher).flatten(1))
        return scores.squeeze(1)


@dataclass(frozen=True, eq=False)
class Guidance(Generic[C]):
    """Who teaches, and the weight rho in (0, 1) of what is taught: a scalar tensor that, where
    the matching network chose, remembers how it came from that network's weights."""

    teacher: BoardEntry[C]
    rho: Tensor


def guide(board: Board[C], matching: Matching, student: Student, pick: Literal["meta", "top1"]) -> Guidance[C]:
    """Choose a teacher for the student from a board that is not empty.

    All entries' images go through the student at once, so that batch statistics are of more
    than a handful. The student gets no gradient.

    Args:
        pick: `meta` takes the entry with the highest score, rho is the sigmoid of that score;
            `top1` takes the best entry with rho = 0.5.
    """
    entries = board.entries
    if pick == "top1":
        return Guidance(entries[0], entries[0].softmax.new_tensor(0.5))
    answers = torch.stack([entry.softmax for entry in entries])
    with torch.no_grad():
        logits = student(torch.cat([entry.images for entry in entries]))
    scores = matching(logits.softmax(1).view(answers.shape), answers)
    chosen = int(scores.argmax())
    return Guidance(entries[chosen], scores[chosen].sigmoid())


def meta_gradients(
    rho: Tensor,
    judges: Sequence[Tensor],
    weights: Sequence[Tensor],
    distillation: Callable[[], Tensor],
    validation: Callable[[], Tensor],
    rate: float,
) -> tuple[Tensor, ...]:
    """The gradient of a validation loss in the matching network's parameters, one step of the student ahead.

    The student steps to W' = W - rate * rho * grad KD(W), and rho alone depends on the judges.
    So the chain rule ends in two inner products and needs no second derivative:
    -rate * <grad L(W'), grad KD(W)> * d rho / d judges.

    Args:
        rho: a scalar, from `guide`.
        judges: the parameters of the matching network.
        weights: leaves that the student computes with; their values are the same bits afterwards.
        distillation: KD, the student's loss to the teacher with the weights as they are when called.
        validation: L, its loss on other images.
        rate: of the student's step.

    Returns:
        A gradient for each of the judges.
    """
    slopes = torch.autograd.grad(distillation(), weights, allow_unused=True)
    moved = [(weight, slope) for weight, slope in zip(weights, slopes, strict=True) if slope is not None]
    reached, steps = zip(*moved, strict=True)
    with _moved(reached, [-rate * rho.detach() * step for step in steps]):
        ahead = torch.autograd.grad(validation(), reached)
    agreement = torch.stack([(one * other).sum() for one, other in zip(ahead, steps, strict=True)]).sum()
    return torch.autograd.grad(rho, judges, grad_outputs=-rate * agreement)


@contextmanager
def _moved(weights: Sequence[Tensor], steps: Sequence[Tensor]) -> Iterator[None]:
    """Weights elsewhere for a while; subtracting the steps again would not bring the same bits back.

    Autocast keeps its copies of weights, and would compute with those of before.
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
