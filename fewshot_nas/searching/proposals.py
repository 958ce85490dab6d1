"""Proposing archs within bounds, however narrow these are: random ones, children of two, changes of single blocks.

With depths and output widths fixed, each block adds its own cost, whatever the others are. So all choices at the
slots that only one block reads (its middle width, its kind) are sums of rows of small tables, and thousands of them
are compared with the bounds at once.
"""

import random
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import mul
from typing import Any, Protocol

import numpy as np

from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import Bound, Limits
from fewshot_nas.space.pool import distinct, shuffled
from fewshot_nas.space.space import Arch, Options, present, random_arch

_CHOICES = 1 << 13  # compared at once, in less than a millisecond
_TURNS = 12


@dataclass(frozen=True)
class Repair:
    """Brings archs within the bounds.

    Attributes:
        options: those to choose from, at each slot.
    """

    limits: Limits
    options: Options

    def within(self, arch: Arch, rng: random.Random) -> Arch | None:
        """An arch within the bounds that has the same depths and output widths, and as many of the blocks as can stay.

        In each turn some blocks, drawn at random, become those that bring the sum nearest to the bounds. Of
        several that are within them, each is as likely. None if the bounds are out of reach, or were not met in a
        few turns.
        """
        fixed, tables = self._tables(arch)
        if not self._reachable(fixed, list(tables.values())):
            return None
        found = list(arch)
        for _ in range(_TURNS):
            # Slots, in a random order, so few that all their choices can be compared.
            order = shuffled(rng, list(tables))
            sizes = accumulate((len(tables[slot]) for slot in order), mul)
            free = [slot for slot, size in zip(order, sizes, strict=True) if size <= _CHOICES]
            kept = [rows[self.options[slot].index(found[slot])] for slot, rows in tables.items() if slot not in free]
            sums = np.sum([fixed, *kept], axis=0)[None]
            for slot in free:
                sums = (sums[:, None] + tables[slot][None]).reshape(-1, sums.shape[1])
            excess = sum(_excesses(each, column) for each, column in zip(self.limits.bounds, sums.T, strict=True))
            nearest = np.flatnonzero(excess <= excess.min())
            taken = np.unravel_index(nearest[int(rng.random() * len(nearest))], [len(tables[slot]) for slot in free])
            for slot, row in zip(free, taken, strict=True):
                found[slot] = self.options[slot][int(row)]
            if excess.min() <= 0 and self.limits.fits(tuple(found)):
                return tuple(found)
        return None

    def _reachable(self, fixed: Any, tables: Sequence[Any]) -> bool:
        least, most = fixed + sum(rows.min(0) for rows in tables), fixed + sum(rows.max(0) for rows in tables)
        return all(
            low <= bound.high and bound.low <= high
            for bound, low, high in zip(self.limits.bounds, least, most, strict=True)
        )

    def _tables(self, arch: Arch) -> tuple[Any, dict[int, Any]]:
        """Costs of what stays [bounds], and for each slot that may change, those of the block with each option.

        A slot that is outside of the options stays as it is.
        """
        space, measures = self.limits.space, [self.limits.measures[bound.name] for bound in self.limits.bounds]
        fixed = np.array([measure.head(space.head(arch)) for measure in measures], float)
        tables: dict[int, Any] = {}
        for number, place in enumerate(space.places):
            if not present(place.when, arch):
                continue
            own = self._own[number]
            if own is None or arch[own] not in self.options[own]:
                fixed = fixed + self._costs(number, space.block_at(number, arch))
            else:
                tables[own] = self._rows(number, own, arch)
        return fixed, tables

    @cached_property
    def _own(self) -> list[int | None]:
        """For each place, the slot that only it reads."""
        space = self.limits.space
        return [next((slot for slot in place.reads if space.readers[slot] == 1), None) for place in space.places]

    def _rows(self, place: int, own: int, arch: Arch) -> Any:
        reads = tuple(arch[slot] for slot in self.limits.space.places[place].reads if slot != own)
        if (place, reads) not in self._known:
            archs = ((*arch[:own], option, *arch[own + 1 :]) for option in self.options[own])
            blocks = [self.limits.space.block_at(place, each) for each in archs]
            self._known[place, reads] = np.array([self._costs(place, block) for block in blocks])
        return self._known[place, reads]

    @cached_property
    def _known(self) -> dict[Any, Any]:
        return {}

    def _costs(self, place: int, block: Block) -> Any:
        measures = (self.limits.measures[bound.name] for bound in self.limits.bounds)
        return np.array([measure.block(place, block) if block.main else 0.0 for measure in measures], float)


def _excesses(bound: Bound, values: Any) -> Any:
    """`Bound.excess` of many values at once."""
    over = values / bound.high - 1 if bound.high > 0 else values
    return np.maximum(np.maximum(over, 1 - values / bound.low if bound.low > 0 else 0), 0)


_DRAWS, _SHAPES, _CHILDREN = 20, 10, 5
Genes = list[int]  # an option for each slot of the space, also for those that the arch does not have


@dataclass(frozen=True)
class Candidates:
    """The archs of a search.

    Attributes:
        options: those to choose from, at each slot.
        anchor: an arch within the bounds.
    """

    limits: Limits
    options: Options
    anchor: Arch

    def draw(self, seed: int, number: int) -> Arch:
        """Random arch number 0, 1, ... within the bounds, a function of the seed and the number.

        If the bounds are met by none of twenty draws, single blocks of further ones are changed until they are. If
        that does not help, the last one also gets genes of the anchor, as few as will do of a random order.
        """
        rng = random.Random(f"{seed}/candidate/{number}")
        for _ in range(_DRAWS):
            if self.limits.fits(arch := random_arch(self.limits.space, rng, self.options)):
                return arch
        for _ in range(_SHAPES):
            if found := self.repair.within(random_arch(self.limits.space, rng, self.options), rng):
                return found
        return self._towards_anchor(arch, rng)

    def _towards_anchor(self, arch: Arch, rng: random.Random) -> Arch:
        genes, wanted = self.genes(arch, rng), self.genes(self.anchor, rng)
        order, best = shuffled(rng, range(len(genes))), self.anchor
        low, high = 0, len(order)
        while low < high:  # a bisection, as if more of the anchor's genes were always nearer
            middle = (low + high) // 2
            taken = set(order[:middle])
            mixed = [wanted[slot] if slot in taken else gene for slot, gene in enumerate(genes)]
            if found := self.repair.within(self.limits.space.canonical(mixed), rng):
                best, high = found, middle
            else:
                low = middle + 1
        return best

    def child(self, one: Arch, other: Arch, rng: random.Random) -> Arch:
        """An arch within the bounds that has one parent's genes up to some block, the other's from there on, and about
        one drawn gene.

        If a few such children are outside the bounds, single blocks of the last one are changed, or else of the first
        parent.

        Args:
            one, other: within the bounds.
        """
        for _ in range(_CHILDREN):
            genes, others = self.genes(one, rng), self.genes(other, rng)
            cut = int(rng.random() * (1 + len(genes)))
            for place, slot in enumerate(self._order):
                if rng.random() < 1 / len(genes):
                    genes[slot] = self._drawn(slot, rng)
                elif place >= cut:
                    genes[slot] = others[slot]
            if self.limits.fits(arch := self.limits.space.canonical(genes)):
                return arch
        return self.repair.within(arch, rng) or self.repair.within(one, rng) or one

    @cached_property
    def repair(self) -> Repair:
        """How archs outside the bounds are brought within them."""
        return Repair(self.limits, self.options)

    def genes(self, arch: Arch, rng: random.Random) -> Genes:
        """An arch's genes; those of slots that it does not have are drawn."""
        slots = enumerate(zip(self.limits.space.slots, arch, strict=True))
        return [option if present(slot.when, arch) else self._drawn(at, rng) for at, (slot, option) in slots]

    def _drawn(self, slot: int, rng: random.Random) -> int:
        options = self.options[slot]
        return options[int(rng.random() * len(options))]

    @cached_property
    def _order(self) -> Sequence[int]:
        return sorted(range(len(self.options)), key=lambda slot: self.limits.space.slots[slot].stage)


# ---- who proposes the archs of a generation: chance, or an evolution that learns from scores -------------------------

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
