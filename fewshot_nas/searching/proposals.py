"""Proposing the archs of a generation: by chance, or by an evolution that learns from scores."""

import random
from collections.abc import Mapping, Sequence, Set
from typing import Protocol

import numpy as np

from fewshot_nas.ranking.influence import Floats
from fewshot_nas.searching.candidates import Candidates
from fewshot_nas.space.draw import distinct
from fewshot_nas.space.space import Arch

Values = Mapping[Arch, Sequence[float]]
_PATIENCE, _PATIENCE_OF_PARENTS = 200, 50  # repetitions in a row, after which no other archs are expected


class _Draws:
    """Random archs, one after the other."""

    def __init__(self, candidates: Candidates, seed: int) -> None:
        self._candidates, self._seed, self._number, self._exhausted = candidates, seed, -1, False

    def others(self, count: int, known: Set[Arch]) -> list[Arch]:
        """The next ones that are not known; fewer, and from then on none, where hardly any others are left."""
        found = [] if self._exhausted else distinct(self._next, count, known, _PATIENCE)
        self._exhausted |= len(found) < count
        return found

    def _next(self) -> Arch:
        self._number += 1
        return self._candidates.draw(self._seed, self._number)


class Proposer(Protocol):
    """Proposes archs, a generation at a time. The same seed and the same values make the same proposals."""

    def ask(self) -> list[Arch]:
        """The archs of the next generation: within the bounds, none proposed before; empty if no others are found."""

    def tell(self, values: Values) -> None:
        """Learn the values of archs in each objective; larger is better."""


class Chance:
    """Random search: a generation does not depend on those before it."""

    def __init__(self, candidates: Candidates, seed: int, population: int) -> None:
        self._draw, self._population, self._asked = _Draws(candidates, seed), population, set[Arch]()

    def ask(self) -> list[Arch]:
        asked = self._draw.others(self._population, self._asked)
        self._asked.update(asked)
        return asked

    def tell(self, values: Values) -> None:
        """Random draws do not learn."""


class Evolution:
    """NSGA-II (Deb et al., IEEE Trans. Evol. Comput. 6, 2002) whose children are all within the bounds.

    A whole generation is proposed before a score is needed, so that it can be scored as one tree. The first
    generation is the one that chance draws. The best of parents and children become the next parents: those that
    fewer others dominate, and among equals those in sparser regions. A parent of a child wins a tournament of two
    by the same order. Where children only repeat what was proposed, random archs fill the generation up.
    """

    def __init__(self, candidates: Candidates, seed: int, population: int) -> None:
        self._candidates, self._population = candidates, population
        self._draw, self._rng = _Draws(candidates, seed), random.Random(f"{seed}/children")
        self._asked: set[Arch] = set()
        self._parents: list[Arch] = []  # the best first
        self._values: dict[Arch, Sequence[float]] = {}  # of the parents

    def ask(self) -> list[Arch]:
        asked: list[Arch] = []
        if self._parents:
            asked = distinct(
                lambda: self._candidates.child(self._parent(), self._parent(), self._rng),
                self._population,
                self._asked,
                _PATIENCE_OF_PARENTS,
            )
            self._asked.update(asked)
        asked += self._draw.others(self._population - len(asked), self._asked)
        self._asked.update(asked)
        return asked

    def tell(self, values: Values) -> None:
        known = self._values | {arch: list(each) for arch, each in values.items()}
        archs = list(known)
        best = best_first(np.array([known[arch] for arch in archs], dtype=float))[: self._population] if archs else []
        self._parents = [archs[place] for place in best]
        self._values = {arch: known[arch] for arch in self._parents}

    def _parent(self) -> Arch:
        return self._parents[min(int(self._rng.random() * len(self._parents)) for _ in range(2))]


def best_first(values: Floats) -> list[int]:
    """The rows of a table of objectives in the order of NSGA-II: by front, in a front the sparsest first.

    Args:
        values: larger is better, [n, objectives].
    """
    if values.shape[1] == 1:
        return [int(row) for row in np.argsort(-values[:, 0], kind="stable")]
    order: list[int] = []
    left = np.arange(len(values))
    while len(left):
        better = (values[left, None] >= values[left]).all(2) & (values[left, None] > values[left]).any(2)
        front = left[~better.any(0)]
        order += [int(row) for row in front[np.argsort(-_crowding(values[front]), kind="stable")]]
        left = left[better.any(0)]
    return order


def _crowding(values: Floats) -> Floats:
    """How far apart the neighbours of each row are, summed over the objectives; infinite at the ends."""
    found = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        found[order[[0, -1]]] = np.inf
        span = column[order[-1]] - column[order[0]]
        if span > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found
