"""Archs within bounds: random ones, and children of two; and archs as named numbers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fewshot_nas.searching.bounds import Limits
from fewshot_nas.searching.middles import Middles
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import random_arch, shuffled

_DRAWS, _SHAPES, _CHILDREN = 20, 10, 5
Genes = dict[str, int]


@dataclass(frozen=True)
class Candidates:
    """The archs of a search.

    Attributes:
        digits: stage s uses the digits 1..digits[s].
        anchor: an arch within the bounds.
    """

    limits: Limits
    digits: Sequence[int]
    anchor: Arch

    def draw(self, seed: int, number: int) -> Arch:
        """Random arch number 0, 1, ... within the bounds, a function of the seed and the number.

        If the bounds are met by none of twenty draws, middle widths of further ones are changed until they are. If
        that does not help, the last one also gets genes of the anchor, drawn at random, and no more than it needs.
        """
        rng = random.Random(f"{seed}/candidate/{number}")
        for _ in range(_DRAWS):
            if self.limits.fits(arch := random_arch(self.limits.space, rng, self.digits)):
                return arch
        for _ in range(_SHAPES):
            if found := self.middles.within(random_arch(self.limits.space, rng, self.digits), rng):
                return found
        return self._towards_anchor(arch, rng)

    def _towards_anchor(self, arch: Arch, rng: random.Random) -> Arch:
        genes, wanted = self.genes(arch, rng), self.genes(self.anchor, rng)
        order, best = shuffled(rng, range(len(genes))), self.anchor
        low, high = 0, len(order)
        while low < high:  # a bisection, as if more of the anchor's genes were always nearer
            middle = (low + high) // 2
            names = [list(genes)[place] for place in order[:middle]]
            if found := self.middles.within(self.arch(genes | {name: wanted[name] for name in names}), rng):
                best, high = found, middle
            else:
                low = middle + 1
        return best

    def child(self, one: Arch, other: Arch, rng: random.Random) -> Arch:
        """An arch within the bounds that has one parent's genes up to some block, the other's from there on, and about
        one drawn gene.

        If a few such children are outside the bounds, middle widths of the last one are changed, or else of the first
        parent.

        Args:
            one, other: within the bounds.
        """
        for _ in range(_CHILDREN):
            genes, others = self.genes(one, rng), self.genes(other, rng)
            cut = int(rng.random() * (1 + len(genes)))
            for place, name in enumerate(genes):
                if rng.random() < 1 / len(genes):
                    genes[name] = self._drawn(name, rng)
                elif place >= cut:
                    genes[name] = others[name]
            if self.limits.fits(arch := self.arch(genes)):
                return arch
        return self.middles.within(arch, rng) or self.middles.within(one, rng) or one

    @cached_property
    def middles(self) -> Middles:
        """How archs outside the bounds are brought within them."""
        return Middles(self.limits, self.digits)

    def genes(self, arch: Arch, rng: random.Random) -> Genes:
        """An arch's genes by name; those of blocks that it does not have are drawn."""
        known = {f"{stage} depth": len(mids) for stage, mids in enumerate(arch.mids)}
        known |= {f"{stage} out": digit for stage, digit in enumerate(arch.outs)}
        known |= {
            f"{stage} mid {slot}": digit for stage, mids in enumerate(arch.mids) for slot, digit in enumerate(mids)
        }
        return {name: known.get(name) or self._drawn(name, rng) for name in self.ranges}

    def _drawn(self, name: str, rng: random.Random) -> int:
        least, most = self.ranges[name]
        return least + int(rng.random() * (1 + most - least))

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the largest value of each gene, in the order of the network."""
        found: dict[str, tuple[int, int]] = {}
        for stage, (depths, count) in enumerate(zip(self.limits.space.depths, self.digits, strict=True)):
            found |= {f"{stage} depth": depths, f"{stage} out": (1, count)}
            found |= {f"{stage} mid {slot}": (1, count) for slot in range(depths[1])}
        return found

    def arch(self, genes: Genes) -> Arch:
        """The arch that has these genes."""
        stages = range(self.limits.space.stages)
        mids = (tuple(genes[f"{stage} mid {slot}"] for slot in range(genes[f"{stage} depth"])) for stage in stages)
        return Arch(tuple(genes[f"{stage} out"] for stage in stages), tuple(mids))
