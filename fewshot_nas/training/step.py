"""One training step of a supernet: who is drawn, who teaches, and what is lost. Each of them is a value.

`draws.py` says who is drawn. In a sandwich (BigNAS, arXiv:2003.11142) the largest arch teaches the others. Cream's
search (arXiv:2010.15821) trains a path, which learns from the best ones found so far.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.sides import trailing
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.space.space import Arch
from fewshot_nas.training.draws import Draws
from fewshot_nas.training.gradients import Leaves, convolve
from fewshot_nas.training.task import Batch, Trained

# ---- who teaches -----------------------------------------------------------------------------------------------------


class Lesson(NamedTuple):
    """What a teacher teaches an arch.

    Attributes:
        teacher: the arch whose probabilities are the target.
        weight: a scalar w without gradient, for the loss [w * teacher's + (2 - w) * labels'] / 2; None: the labels do
            not count at all.
    """

    teacher: Arch
    weight: Tensor | None = None


class Teacher(Protocol):
    """Chooses the teachers of a step's archs."""

    def lessons(self, supernet: Supernet, archs: Sequence[Arch], batch: Batch) -> Sequence[Lesson | None]:
        """The lesson of each arch; None if it learns from the labels only."""


@dataclass(frozen=True)
class Labels:
    """`distill: none`. All archs learn from the labels."""

    def lessons(self, supernet: Supernet, archs: Sequence[Arch], batch: Batch) -> Sequence[Lesson | None]:
        return [None] * len(archs)


@dataclass(frozen=True)
class Largest:
    """`distill: sandwich`. All archs but the first learn from the first, the largest (BigNAS, arXiv:2003.11142)."""

    def lessons(self, supernet: Supernet, archs: Sequence[Arch], batch: Batch) -> Sequence[Lesson | None]:
        return [None] + [Lesson(archs[0])] * len(archs[1:])


# ---- what is lost ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Answer:
    """The output of an arch, and its targets.

    Attributes:
        logits: [B, classes], with their graph.
        labels: class indices [B].
        smoothing: of the labels.
        taught: the teacher's probabilities [B, classes]; None without a teacher.
        weight: of the teacher's part, see `Lesson`.
    """

    arch: Arch
    logits: Tensor
    labels: Tensor
    smoothing: float = 0.0
    taught: Tensor | None = None
    weight: Tensor | None = None

    def loss(self) -> Tensor:
        """The cross-entropy with the labels, with the teacher's probabilities, or both; a scalar with its graph."""
        if self.taught is not None and self.weight is None:
            return F.cross_entropy(self.logits, self.taught)
        from_labels = F.cross_entropy(self.logits, self.labels, label_smoothing=self.smoothing)
        if self.taught is None or self.weight is None:
            return from_labels
        return (self.weight * F.cross_entropy(self.logits, self.taught) + (2 - self.weight) * from_labels) / 2


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
        losses = []
        for answer in answers:
            loss = answer.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses)


# The values of the setting `loss`.
LOSSES: Mapping[str, Callable[[], Loss]] = MappingProxyType({"per_arch": PerArch})


# ---- the step --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageSizes:
    """The image sizes of a step.

    Attributes:
        resolutions: image sides in pixels to draw from; if empty, images keep their size.
        ends: whether the step has a largest and a smallest arch.
    """

    seed: int = 0
    resolutions: Sequence[int] = ()
    ends: bool = True

    def sides(self, step: int, archs: int) -> list[int | None]:
        """The image side of each arch of a step: the largest side first, then drawn ones, the smallest side last."""
        if not self.resolutions:
            return [None] * archs
        rng = random.Random(f"{self.seed}/size/{step}")
        ends = [max(self.resolutions), min(self.resolutions)] if self.ends else []
        drawn = [self.resolutions[int(rng.random() * len(self.resolutions))] for _ in range(archs - len(ends))]
        return [*ends[:1], *drawn, *ends[1:]]


@dataclass(frozen=True)
class Regularization:
    """The regularization of the first arch of a step. Labels are smoothed for all archs that learn from labels."""

    label_smoothing: float = 0.0
    dropout: float = 0.0
    drop_connect: float = 0.0


@dataclass(frozen=True)
class SupernetStep:
    """The parts of a supernet's step, the same for all steps of a training."""

    sampler: Draws
    sizes: ImageSizes = ImageSizes()
    teacher: Teacher = Labels()
    loss: Loss = PerArch()
    regularization: Regularization = Regularization()
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def names(self) -> Sequence[str]:
        return self.sampler.names

    def culprit(self, network: Supernet, loss: int, step: int) -> str:
        """The arch that a loss belongs to."""
        return f"the {self.names[loss]} arch, {network.space.encode(self.sampler.archs(step)[loss])},"

    def backward(self, network: Supernet, batch: Batch) -> Trained:
        """Add a step's gradients to the network's parameters. Returns losses and logits of the archs."""
        archs = self.sampler.archs(batch.step)
        with self._autocast(batch.images):
            lessons = self.teacher.lessons(network, archs, batch)
        leaves, logits = Leaves(torch.bfloat16 if self.precision == "bf16" else batch.images.dtype), list[Tensor]()

        def noted() -> Iterator[Answer]:
            for answer in self._answers(network, leaves, batch, archs, lessons):
                logits.append(answer.logits.detach())
                yield answer

        losses = self.loss.backward(noted())
        leaves.deposit()
        if getattr(losses, "shape", None) != (len(archs),):
            raise InputError(
                f"the loss returned {losses!r}, expected a tensor with the loss of each of {len(archs)} archs"
            )
        if all(parameter.grad is None for parameter in network.parameters()):
            raise InputError("the loss differentiated nothing, expected it to call `backward`")
        return Trained(losses, logits)

    def _answers(
        self, supernet: Supernet, leaves: Leaves, batch: Batch, archs: Sequence[Arch], lessons: Sequence[Lesson | None]
    ) -> Iterator[Answer]:
        """Run the archs of a step, one after the other, each when its answer is requested.

        The detached logits of the first arch serve the archs that it teaches. Any other teacher costs one forward
        pass, on images of the first arch's size.
        """
        regular, sides = self.regularization, self.sizes.sides(batch.step, len(archs))
        taught: dict[Arch, Tensor] = {}  # the probabilities of teachers
        first: Tensor | None = None  # logits of the first arch, once it has run

        def forward(
            number: int, arch: Arch, side: int | None, dropout: float = 0.0, drop_connect: float = 0.0
        ) -> Tensor:
            # Of a supernet with two sides, every other arch has the last channels.
            slices = trailing if supernet.two_sided and (batch.step + number) % 2 else part
            weights, images = leaves.weights(supernet, arch, slices), resized(batch.images, side)
            with self._autocast(images):
                rates = {"dropout": dropout, "drop_connect": drop_connect}
                return run_subnet(weights, images, **rates, convolve=convolve, share=batch.share).float()

        for number, (arch, side, lesson) in enumerate(zip(archs, sides, lessons, strict=True)):
            if lesson and lesson.teacher not in taught:
                with torch.no_grad():
                    known = first if lesson.teacher == archs[0] else None
                    answer = forward(0, lesson.teacher, sides[0]) if known is None else known
                    taught[lesson.teacher] = answer.softmax(1)
            dropped = (0.0, 0.0) if number else (regular.dropout, regular.drop_connect)
            logits = forward(number, arch, side, *dropped)
            first = logits.detach() if first is None else first
            target = (taught[lesson.teacher], lesson.weight) if lesson else (None, None)
            yield Answer(arch, logits, batch.labels, regular.label_smoothing, *target)

    def _autocast(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def resized(images: Tensor, side: int | None) -> Tensor:
    """Images [B, C, H, W], resized to another side."""
    if side is None or images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
