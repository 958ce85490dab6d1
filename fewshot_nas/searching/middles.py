"""Middle widths that bring an arch within bounds, however narrow these are.

With depths and output widths fixed, each block adds its own cost, whatever the others are. So all choices of the
middles of some blocks are sums of rows of small tables, and thousands of them are compared with the bounds at once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from fewshot_nas.searching.bounds import Bound, Limits
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.sampling import shuffled

_CHOICES = 1 << 13  # compared at once, in less than a millisecond
_TURNS = 12


@dataclass(frozen=True)
class Middles:
    """The middles of archs.

    Attributes:
        digits: stage s uses the digits 1..digits[s].
    """

    limits: Limits
    digits: Sequence[int]

    def within(self, arch: Arch, rng: random.Random) -> Arch | None:
        """An arch within the bounds that has the same depths and output widths, and as many of the middles as can stay.

        In each turn some blocks, drawn at random, get those middles that bring the sum nearest to the bounds. Of
        several that are within them, each is as likely. None if the bounds are out of reach, or were not met in a
        few turns.
        """
        blocks = self.limits.space.blocks(arch)
        fixed, tables = self._fixed(blocks), [self._costs(block) for block in blocks]
        if not self._reachable(fixed, tables):
            return None
        rows = [rows for rows, *_ in tables]
        chosen = [digit - 1 for mids in arch.mids for digit in mids]
        for _ in range(_TURNS):
            free = self._free(rows, rng)
            kept = [
                row[digit] for place, (row, digit) in enumerate(zip(rows, chosen, strict=True)) if place not in free
            ]
            sums = np.sum([fixed, *kept], axis=0)[None]
            for place in free:
                sums = (sums[:, None] + rows[place][None]).reshape(-1, sums.shape[1])
            excess = self._excess(sums)
            nearest = np.flatnonzero(excess <= excess.min())
            taken = np.unravel_index(nearest[int(rng.random() * len(nearest))], [len(rows[place]) for place in free])
            for place, digit in zip(free, taken, strict=True):
                chosen[place] = int(digit)
            if excess.min() <= 0 and self.limits.fits(found := _with(arch, chosen)):
                return found
        return None

    def _free(self, rows: Sequence[Any], rng: random.Random) -> list[int]:
        """Blocks, in a random order, so few that all choices of their middles can be compared."""
        order = shuffled(rng, range(len(rows)))
        sizes = accumulate((len(rows[place]) for place in order), mul)
        return [place for place, size in zip(order, sizes, strict=True) if size <= _CHOICES]

    def _reachable(self, fixed: Any, tables: Sequence[Any]) -> bool:
        least, most = fixed + sum(low for _, low, _ in tables), fixed + sum(high for *_, high in tables)
        return all(
            low <= bound.high and bound.low <= high
            for bound, low, high in zip(self.limits.bounds, least, most, strict=True)
        )

    def _excess(self, sums: Any) -> Any:
        return sum(_excess(bound, column) for bound, column in zip(self.limits.bounds, sums.T, strict=True))

    def _fixed(self, blocks: Sequence[Block]) -> Any:
        """Costs of what is no block, by bound."""
        measures = (self.limits.measures[bound.name] for bound in self.limits.bounds)
        return np.array([measure.stem(blocks[0].inputs) + measure.head(blocks[-1].out) for measure in measures])

    @cached_property
    def _costs(self) -> Any:
        """Costs of a block with each of its middles, [digits, bounds], and the least and the largest, [bounds]."""
        return lru_cache(maxsize=None)(self._costs_of)

    def _costs_of(self, block: Block) -> Any:
        measures = [self.limits.measures[bound.name] for bound in self.limits.bounds]
        mids = [self.limits.space.mid_width(block.stage, digit) for digit in range(1, self.digits[block.stage] + 1)]
        rows = np.array([[measure.block(block._replace(mid=mid)) for measure in measures] for mid in mids], float)
        return rows, rows.min(0), rows.max(0)


def _excess(bound: Bound, values: Any) -> Any:
    """As `Bound.excess`, of many values."""
    over = values / bound.high - 1 if bound.high > 0 else values
    return np.maximum(np.maximum(over, 1 - values / bound.low if bound.low > 0 else 0), 0)


def _with(arch: Arch, chosen: Sequence[int]) -> Arch:
    digits = iter(chosen)
    return Arch(arch.outs, tuple(tuple(1 + next(digits) for _ in mids) for mids in arch.mids))
