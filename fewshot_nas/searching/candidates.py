"""Random archs within bounds, and archs as named numbers, which an optimiser can propose."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fewshot_nas.searching.bounds import Limits
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import random_arch, shuffled

_DRAWS = 100
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

        If none of a hundred draws meets the bounds, the last one gets genes of the anchor, one after
        the other in a random order, until it does.
        """
        rng = random.Random(f"{seed}/candidate/{number}")
        for _ in range(_DRAWS):
            arch = random_arch(self.limits.space, rng, self.digits)
            if self.limits.fits(arch):
                return arch
        return self._repaired(arch, rng)

    def _repaired(self, arch: Arch, rng: random.Random) -> Arch:
        genes, wanted = self.genes(arch, rng), self.genes(self.anchor, rng)
        names = list(genes)
        for place in shuffled(rng, range(len(names))):
            name = names[place]
            genes[name] = wanted[name]
            if self.limits.fits(self.arch(genes)):
                return self.arch(genes)
        return self.anchor

    def genes(self, arch: Arch, rng: random.Random) -> Genes:
        """An arch's genes by name; those of blocks that it does not have are drawn."""
        known = {f"{stage} depth": len(mids) for stage, mids in enumerate(arch.mids)}
        known |= {f"{stage} out": digit for stage, digit in enumerate(arch.outs)}
        known |= {
            f"{stage} mid {slot}": digit for stage, mids in enumerate(arch.mids) for slot, digit in enumerate(mids)
        }
        return {name: known.get(name) or 1 + int(rng.random() * most) for name, (_, most) in self.ranges.items()}

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The least and the largest value of each gene. Sorted by name, genes are in the order of the stages."""
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
