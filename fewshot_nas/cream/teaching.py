"""Who teaches a path: one of the board, chosen by the matching network, which learns at times (arXiv:2010.15821)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cream.board_keeping import BoardKeeping
from fewshot_nas.cream.matching import Matching, guide, meta_gradients
from fewshot_nas.distributed import GradientMean, World, broadcast
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.step import Lesson
from fewshot_nas.training.task import Batch


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
