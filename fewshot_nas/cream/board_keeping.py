"""Board policies: by the accuracy on the step's batch, as published, or by reviews on held-out images."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol

import torch
from torch import Tensor

from fewshot_nas.cream.flops import UNIFORM, Budget
from fewshot_nas.cream.offers import Offers
from fewshot_nas.cream.step import entry_for, share_right
from fewshot_nas.distributed import World, broadcast
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.board import Board, BoardEntry
from fewshot_nas.training.supernet_task import shared_scores

MEASURES = {"batch": "batch_top1", "review": "held_prob"}  # what the accuracies of each board are called in files
_MOST_DRAWS = 100  # of a neighbour within the bounds


@dataclass(frozen=True, eq=False)
class Trained:
    """A step's path, and what it made of its batch.

    Attributes:
        supernet: with the weights of the step.
        images: [B, C, H, W], normalised.
        logits: [B, classes], without gradient.
        right: share of the images that were guessed right, a scalar; the mean of all processes by the next step.
    """

    step: int
    path: Arch
    supernet: Supernet
    images: Tensor
    logits: Tensor
    right: Tensor


class BoardKeeping(Protocol):
    """Renews the board, alike on all processes."""

    @property
    def measure(self) -> str:
        """What the board's accuracies are called in files."""

    def after_step(self, trained: Trained) -> None:
        """Take note of a step's path. All processes call this after each step."""

    def apply_pending(self, *, share: bool = False) -> None:
        """Bring the paths that wait for their accuracy onto the board.

        Args:
            share: also give all processes the same images and answers; then all of them call this.
        """

    def restart(self) -> None:
        """Forget the steps noted so far: the board was read from a file."""


class ByBatch:
    """As published: the path of each step is offered with its accuracy on the step's batch.

    Args:
        images_kept: of a batch, by an entry.
    """

    measure = MEASURES["batch"]

    def __init__(self, board: Board[Arch], budget: Budget, images_kept: int, world: World) -> None:
        self._board, self._budget, self._images_kept, self._world = board, budget, images_kept, world
        self.restart()

    def after_step(self, trained: Trained) -> None:
        """Offer the step's path, once its accuracy is known."""
        cost = self._budget.mflops(trained.path)
        entry = entry_for(trained.path, cost, trained.images, trained.logits, self._images_kept)
        self._offers.add(entry, trained.right)

    def apply_pending(self, *, share: bool = False) -> None:
        self._offers.decide()
        if share:
            self._offers.share()

    def restart(self) -> None:
        self._offers = Offers(self._board, self._world)


@dataclass(frozen=True, eq=False, kw_only=True)
class ByReview:
    """Now and then, the board's paths and new ones are scored on held images, and the best of all stay.

    Accuracies of one review belong to the same weights and the same images, and to batch norms of each path's own.
    So they can be compared, which accuracies of different steps and batches cannot. New paths are drawn within the
    bounds, and every other one is a neighbour of one that is on the board: it differs in one or two blocks.

    Attributes:
        inputs: the held images, and training images for the batch norms.
        steps: the steps after which there is a review.
        size: paths on the board.
        candidates: new paths of a review.
        images_kept: by the entries, the first of the held ones; all entries share them.
    """

    board: Board[Arch]
    budget: Budget
    inputs: Inputs
    steps: frozenset[int]
    size: int
    candidates: int
    seed: int
    images_kept: int
    world: World
    measure: str = MEASURES["review"]

    def after_step(self, trained: Trained) -> None:
        """Scores by the labels' mean probability, which has no ties; each process scores its share of the paths."""
        if trained.step not in self.steps:
            return
        old = [entry.candidate for entry in self.board.entries]
        paths = list(dict.fromkeys([*old, *self._new(old, random.Random(f"{self.seed}/review/{trained.step}"))]))
        archs = {str(place): path for place, path in enumerate(paths)}
        found = shared_scores(trained.supernet, archs, self.inputs, self.world)
        scores = [each.prob for each in found.values()]
        best = sorted(range(len(paths)), key=lambda place: -scores[place])[: self.size]
        images = next(self.inputs.scoring_batches())[0][: self.images_kept]
        self.board.replace([self._entry(trained.supernet, paths[place], scores[place], images) for place in best])

    def apply_pending(self, *, share: bool = False) -> None:
        """Nothing is left to do after a review."""

    def restart(self) -> None:
        """Nothing is remembered between reviews."""

    def _new(self, old: Sequence[Arch], rng: random.Random) -> Iterator[Arch]:
        for number in range(self.candidates):
            if number % 2 and old:
                yield neighbour(old[number // 2 % len(old)], self.budget, rng)
            else:
                yield self.budget.sample(rng, UNIFORM)

    @torch.no_grad()
    def _entry(self, supernet: Supernet, path: Arch, score: float, images: Tensor) -> BoardEntry[Arch]:
        answers = supernet(images, path).softmax(1)
        return BoardEntry(path, score, self.budget.mflops(path), images, broadcast(answers, self.world))


def neighbour(path: Arch, budget: Budget, rng: random.Random) -> Arch:
    """A path within the bounds that differs in one or two blocks; the path itself where there is hardly one.

    Only `rng.random()` is called, the one method whose sequence Python promises to keep.
    """
    for _ in range(_MOST_DRAWS):
        changed = [list(stage) for stage in budget.space.by_stage(path)]
        for _ in range(2):
            stage = changed[int(rng.random() * len(changed))]
            stage[int(rng.random() * len(stage))] = int(rng.random() * len(budget.space.choices))
        found = tuple(chain.from_iterable(changed))
        if found != path and budget.minimum <= budget.mflops(found) <= budget.maximum:
            return found
    return path


def board_scores(
    board: Literal["batch", "review"], supernet: Supernet, paths: Sequence[Arch], inputs: Inputs, world: World
) -> list[float]:
    """What a board would hold of each path with today's weights, in percent.

    Args:
        inputs: the images to go by; a board that goes by batches takes one batch.
    """
    if board == "review":
        archs = {str(place): path for place, path in enumerate(paths)}
        return [each.prob for each in shared_scores(supernet, archs, inputs, world).values()]
    images, labels = next(inputs.scoring_batches())
    with torch.no_grad(), inputs.autocast():
        return [100 * share_right(supernet(images, path), labels).item() for path in paths]
