"""One training step of a supernet: who is drawn, who teaches, and what is lost. Each of them is a value.

A sandwich (BigNAS, arXiv:2003.11142) is the largest arch, some drawn ones and the smallest. Cream's search
(arXiv:2010.15821) is a path that learns from the best ones found so far. Every draw depends on the seed and the step
only. So all processes draw the same without communication, and a resumed run draws the same as one that was not
interrupted.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch, Options, Space, random_arch, with_outs
from fewshot_nas.training.gradients import Leaves, convolve
from fewshot_nas.training.task import Batch, Trained

# ---- who is drawn ----------------------------------------------------------------------------------------------------


class Draws(Protocol):
    """Gives the archs of a step."""

    @property
    def names(self) -> Sequence[str]:
        """The names of a step's archs, for its losses in the log."""

    def archs(self, step: int) -> Sequence[Arch]:
        """The archs of a step, in the order in which they run."""


class Drawn(Protocol):
    """Draws the archs between the two ends of a sandwich."""

    def arch(self, draw: int) -> Arch:
        """The arch of draw number `draw`, counted over the whole training."""


class Ends(Protocol):
    """Gives the ends of a sandwich: a largest and a smallest arch, or none."""

    def ends(self, step: int) -> Sequence[Arch]:
        """The largest and the smallest arch of a step, or no arch."""


@dataclass(frozen=True)
class RandomArchs:
    """`sampling: random`. Every choice is uniform.

    Attributes:
        options: those that are drawn, at each slot of the space.
    """

    space: Space
    seed: int
    options: Options

    def arch(self, draw: int) -> Arch:
        """A random arch, independent of all other draws."""
        return random_arch(self.space, random.Random(f"{self.seed}/arch/{draw}"), self.options)


@dataclass(frozen=True)
class SpaceEnds:
    """`extremes: space`. The space's largest and smallest arch at every step (BigNAS, arXiv:2003.11142)."""

    space: Space
    seed: int
    options: Options

    @cached_property
    def extremes(self) -> tuple[Arch, Arch]:
        return self.space.extreme(self.options, largest=True), self.space.extreme(self.options, largest=False)

    def ends(self, step: int) -> tuple[Arch, Arch]:
        return self.extremes


@dataclass(frozen=True)
class OutsEnds(SpaceEnds):
    """`extremes: outs`. The depths and middle widths of the space's ends, with output widths drawn for each step.

    This way all output widths are trained equally often. With `SpaceEnds`, the largest and the smallest
    are trained at every step and the others rarely.
    """

    def ends(self, step: int) -> tuple[Arch, Arch]:
        largest, smallest = self.extremes
        return self._drawn(largest, f"{self.seed}/largest/{step}"), self._drawn(
            smallest, f"{self.seed}/smallest/{step}"
        )

    def _drawn(self, arch: Arch, stream: str) -> Arch:
        return with_outs(self.space, arch, random_arch(self.space, random.Random(stream), self.options))


@dataclass(frozen=True)
class NoEnds:
    """`extremes: none`. A step trains drawn archs only; with one of them, a single path (SPOS, arXiv:1904.00420)."""

    space: Space
    seed: int
    options: Options

    def ends(self, step: int) -> Sequence[Arch]:
        return ()


@dataclass(frozen=True)
class Sampler:
    """The archs of a sandwich: the largest, the drawn ones, the smallest; without ends, the drawn ones.

    Attributes:
        middle: number of archs that are drawn between the largest and the smallest.
    """

    drawn: Drawn
    extremes: Ends
    middle: int

    @property
    def names(self) -> Sequence[str]:
        drawn = tuple(f"sampled{number}" for number in range(1, self.middle + 1))
        return ("largest", *drawn, "smallest") if self.extremes.ends(0) else drawn

    def archs(self, step: int) -> list[Arch]:
        ends = self.extremes.ends(step)
        draws = range(step * self.middle, (step + 1) * self.middle)
        return [*ends[:1], *(self.drawn.arch(draw) for draw in draws), *ends[1:]]


# `sampling: shrinking`: from which share of a training the options of which roles are drawn, beside the largest ones.
SHRINKING: Mapping[float, frozenset[str]] = MappingProxyType(
    {0.0: frozenset(), 0.1: frozenset({"depth"}), 0.4: frozenset({"depth", "out", "mid", "block"})}
)


@dataclass(frozen=True)
class Shrinking:
    """Progressive shrinking (once-for-all, arXiv:1908.09791): samplers of more and more options, one after the other.

    Attributes:
        samplers: one for each part of `SHRINKING`.
        steps: of the whole training.
    """

    samplers: Sequence[Draws]
    steps: int

    @classmethod
    def of(cls, sampler: Callable[[Options], Draws], space: Space, options: Options, steps: int) -> "Shrinking":
        """Samplers made by `sampler`, each for some of the options."""

        def kept(roles: frozenset[str]) -> Options:
            each = zip(space.slots, options, strict=True)
            return tuple(all_ if s.role in roles else all_[:1] if s.falling else all_[-1:] for s, all_ in each)

        return cls([sampler(kept(roles)) for roles in SHRINKING.values()], steps)

    @property
    def names(self) -> Sequence[str]:
        """The same in all parts."""
        return self.samplers[-1].names

    def archs(self, step: int) -> Sequence[Arch]:
        """The archs of a step, by the sampler of its part."""
        part = sum(step >= begin * self.steps for begin in SHRINKING) - 1
        return self.samplers[part].archs(step)


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


# The values of the settings `sampling` and `extremes`.
SAMPLING: Mapping[str, Callable[[Space, int, Options], Drawn]] = MappingProxyType(
    {"random": RandomArchs, "shrinking": RandomArchs}
)
EXTREMES: Mapping[str, Callable[[Space, int, Options], Ends]] = MappingProxyType(
    {"space": SpaceEnds, "outs": OutsEnds, "none": NoEnds}
)


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

        def forward(arch: Arch, side: int | None, dropout: float = 0.0, drop_connect: float = 0.0) -> Tensor:
            weights, images = leaves.weights(supernet, arch), resized(batch.images, side)
            with self._autocast(images):
                rates = {"dropout": dropout, "drop_connect": drop_connect}
                return run_subnet(weights, images, **rates, convolve=convolve, share=batch.share).float()

        for number, (arch, side, lesson) in enumerate(zip(archs, sides, lessons, strict=True)):
            if lesson and lesson.teacher not in taught:
                with torch.no_grad():
                    known = first if lesson.teacher == archs[0] else None
                    taught[lesson.teacher] = (forward(lesson.teacher, sides[0]) if known is None else known).softmax(1)
            dropped = (0.0, 0.0) if number else (regular.dropout, regular.drop_connect)
            logits = forward(arch, side, *dropped)
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
