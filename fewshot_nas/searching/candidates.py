"""Archs within bounds: random ones, and children of two."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fewshot_nas.searching.bounds import Limits
from fewshot_nas.searching.repair import Repair
from fewshot_nas.space.draw import random_arch, shuffled
from fewshot_nas.space.space import Arch, Options, present

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
        """The slots in the order of the stages."""
        return sorted(range(len(self.options)), key=lambda slot: self.limits.space.slots[slot].stage)
