"""Strictly fair draws (FairNAS, arXiv:1907.01845): `training.sampling=studies.mnist.fair:FairArchs`."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import shuffled
from fewshot_nas.space.search_space import SearchSpace


@dataclass(frozen=True)
class FairArchs:
    """Each choice goes through all its n options in a random order before any option repeats.

    With seven digits, draws 0..6 use every digit of every block once, and so do draws 7..13. Depths are drawn in the
    same way.

    Attributes:
        digits: the digits 1..n of each stage that are drawn.
    """

    space: SearchSpace
    seed: int
    digits: Sequence[int]

    def arch(self, draw: int) -> Arch:
        """Draw number `draw`, which depends on the seed and the number only."""
        slot = 0

        def pick(options: Sequence[int]) -> int:
            nonlocal slot
            slot += 1
            cycle, position = divmod(draw, len(options))
            return shuffled(random.Random(f"{self.seed}/{slot}/{cycle}"), options)[position]

        depths = [pick(range(least, most + 1)) for least, most in self.space.depths]
        options = [range(1, count + 1) for count in self.digits]
        outs = tuple(map(pick, options))
        # Absent blocks draw too: otherwise a block's draws would depend on other depths.
        mids = [[pick(each) for _ in range(most)] for each, (_, most) in zip(options, self.space.depths, strict=True)]
        return Arch(outs, tuple(tuple(each[:depth]) for each, depth in zip(mids, depths, strict=True)))
