"""The prioritized board (arXiv:2010.15821), and who comes onto it: by batches, as published, or by reviews.

A board holds the best candidates found so far, of any type, with their accuracies and answers. Who keeps it does so
alike on all processes.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.flops import UNIFORM, Budget
from fewshot_nas.distributed import World, broadcast
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch
from fewshot_nas.training.supernet_task import shared_scores

C = TypeVar("C")
WAITING = 16  # the most paths that wait for their accuracy; each holds a few images
_MOST_DRAWS = 100  # of a neighbour within the bounds


@dataclass(frozen=True, eq=False)  # equality would compare tensors
class BoardEntry(Generic[C]):
    """A candidate and its measurements.

    Attributes:
        accuracy: in percent.
        cost: in any unit, as long as all entries of the board use the same.
        images: some of the images that it was measured on [S, C, H, W]; empty on a board that does
            not compare the answers of its entries.
        softmax: the candidate's probabilities for these images [S, classes].
    """

    candidate: C
    accuracy: float
    cost: float
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    softmax: Tensor = field(default_factory=lambda: torch.empty(0))


class Board(Generic[C]):
    """At most `size` entries with different candidates, the most accurate first.

    If accuracies are equal, the cheaper entry comes first, then the older one.

    Args:
        gap: percentage points by which a more expensive candidate must beat the last entry of a full board.
    """

    def __init__(self, size: int, gap: float = 5.0) -> None:
        if size < 1:
            raise InputError(f"the board's size is {size}, expected at least 1")
        self._size, self._gap = size, gap
        self._entries: list[BoardEntry[C]] = []

    @property
    def entries(self) -> tuple[BoardEntry[C], ...]:
        return tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, entry: BoardEntry[C]) -> None:
        """Add a candidate if it is good enough.

        If the candidate is already on the board, it gets its new accuracy, because the old one was
        measured with older weights. If the board is full, the candidate replaces the last entry if it
        is more accurate and cheaper, or more accurate by more than the gap.
        """
        others = [other for other in self._entries if other.candidate != entry.candidate]
        if len(others) == self._size:
            ahead = entry.accuracy - others[-1].accuracy
            if ahead <= self._gap and (ahead <= 0 or entry.cost >= others[-1].cost):
                return
            others.pop()
        self._entries = sorted([*others, entry], key=_rank)

    def replace(self, entries: Iterable[BoardEntry[C]]) -> None:
        """Keep nothing but the best of these, whose candidates differ, whatever was there before."""
        self._entries = sorted(entries, key=_rank)[: self._size]

    def state_dict(self) -> dict[str, Any]:
        """The entries as plain values and tensors."""
        return {"entries": [dict(vars(entry)) for entry in self._entries]}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Restore the state that `state_dict` returned, on a device; entries that shared their images still do.

        Raises:
            InputError: there are more entries than this board can hold.
        """
        moved: dict[int, Any] = {}

        def there(value: Any) -> Any:
            return moved.setdefault(id(value), value.to(device)) if isinstance(value, Tensor) else value

        entries = [BoardEntry[C](**{key: there(value) for key, value in entry.items()}) for entry in state["entries"]]
        if len(entries) > self._size:
            raise InputError(f"the board to restore has {len(entries)} entries, expected at most {self._size}")
        self._entries = entries


def _rank(entry: BoardEntry[Any]) -> tuple[float, float]:
    return -entry.accuracy, entry.cost


class TrainedPath(NamedTuple):
    """A step's path, and what it made of its batch.

    Attributes:
        supernet: with the weights of the step.
        images: [B, C, H, W], normalised.
        logits: [B, classes], without gradient.
        right: share of the images of all processes that were guessed right, a scalar on the device.
    """

    step: int
    path: Arch
    supernet: Supernet
    images: Tensor
    logits: Tensor
    right: Tensor


class BoardKeeping:
    """Renews the board, alike on all processes.

    Attributes:
        measure: what the board's accuracies are called in files.
    """

    measure: ClassVar[str]
    board: Board[Arch]

    def note(self, trained: TrainedPath) -> None:
        """Take note of a step's path. All processes call this after each step that may change the board."""
        raise NotImplementedError

    def apply_pending(self, *, share: bool = False) -> None:
        """Bring the paths that wait for their accuracy onto the board.

        Args:
            share: also give all processes the same images and answers; then all of them call this.
        """

    def restart(self) -> None:
        """Forget the steps noted so far: the board was read from a file."""


class ByBatch(BoardKeeping):
    """As published: the path of each step is offered with its accuracy on the step's batch.

    Paths wait for the board, so that a step waits neither for the device nor for another process. All processes read
    the same accuracies, so they decide alike. Images and answers of an entry are rank 0's; only those of accepted
    entries are sent.

    Args:
        images_kept: of a batch, by an entry.
        first: the first step whose path is offered.
    """

    measure = "batch_top1"

    def __init__(self, board: Board[Arch], budget: Budget, images_kept: int, world: World, *, first: int = 0) -> None:
        self.board, self._budget, self._images_kept, self._world, self._first = board, budget, images_kept, world, first
        self.restart()

    def restart(self) -> None:
        self._waiting: list[tuple[BoardEntry[Arch], Tensor]] = []
        self._own: list[BoardEntry[Arch]] = []  # entries on the board that still have this process's images

    def note(self, trained: TrainedPath) -> None:
        """Keep the path, to offer it when the board is needed."""
        if trained.step < self._first:
            return
        if len(self._waiting) == WAITING:
            self.apply_pending()
        kept = slice(self._images_kept)
        images, answers = trained.images[kept].clone(), trained.logits[kept].softmax(1)
        entry = BoardEntry(trained.path, float("nan"), self._budget.mflops(trained.path), images, answers)
        self._waiting.append((entry, trained.right))

    def apply_pending(self, *, share: bool = False) -> None:
        if self._waiting:
            shares = torch.stack([right for _, right in self._waiting]).tolist()
            for (entry, _), right in zip(self._waiting, shares, strict=True):
                measured = replace(entry, accuracy=100 * right)
                self.board.offer(measured)
                self._own.append(measured)
            self._waiting.clear()
            self._own = self._on_board()
        if share:
            self._share()

    def _share(self) -> None:
        """Send rank 0's images and answers to all processes."""
        own, self._own = self._on_board(), []
        if self._world.size == 1 or not own:
            return
        tensors = [tensor for entry in own for tensor in (entry.images, entry.softmax)]
        values = broadcast(torch.cat([tensor.flatten() for tensor in tensors]), self._world)
        for tensor, part in zip(tensors, torch.split(values, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def _on_board(self) -> list[BoardEntry[Arch]]:
        """Those of the own entries that are on the board, in its order, which is the same on all processes."""
        return [entry for entry in self.board.entries if any(entry is each for each in self._own)]


@dataclass(frozen=True, eq=False, kw_only=True)
class ByReview(BoardKeeping):
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
    measure = "held_prob"

    def note(self, trained: TrainedPath) -> None:
        """Scores by the labels' mean probability, which has no ties; each process scores its share of the paths."""
        if trained.step not in self.steps:
            return
        old = [entry.candidate for entry in self.board.entries]
        paths = list(dict.fromkeys([*old, *self._new(old, random.Random(f"{self.seed}/review/{trained.step}"))]))
        archs = {str(place): path for place, path in enumerate(paths)}
        scores = [each.prob for each in shared_scores(trained.supernet, archs, self.inputs, self.world).values()]
        best = sorted(range(len(paths)), key=lambda place: -scores[place])[: self.size]
        images = next(self.inputs.scoring_batches())[0][: self.images_kept]
        self.board.replace([self._entry(trained.supernet, paths[place], scores[place], images) for place in best])

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


def review_steps(first: int, total: int, reviews: int) -> frozenset[int]:
    """The steps, counted from 0, after which the board is reviewed: evenly spread from `first` on, the last included.

    >>> sorted(review_steps(100, 200, 4))
    [124, 149, 174, 199]
    """
    return frozenset(first + (total - first) * number // reviews - 1 for number in range(1, reviews + 1))


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


def share_right(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of a batch that is classified correctly, from 0 to 1, as a scalar on the batch's device."""
    return (logits.argmax(1) == labels).float().mean()
