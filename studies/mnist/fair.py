"""Strictly fair draws (FairNAS, arXiv:1907.01845): `training.sampling=studies.mnist.fair:FairArchs`."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fewshot_nas.space.pool import shuffled
from fewshot_nas.space.space import Arch, Options, Space


@dataclass(frozen=True)
class FairArchs:
    """Each choice goes through all its n options in a random order before any option repeats.

    With seven digits, draws 0..6 use every digit of every block once, and so do draws 7..13. Depths are drawn in the
    same way.

    Attributes:
        options: those that are drawn, at each slot.
    """

    space: Space
    seed: int
    options: Options

    def arch(self, draw: int) -> Arch:
        """Draw number `draw`, which depends on the seed and the number only."""
        # Absent blocks draw too: otherwise a block's draws would depend on other depths.
        return self.space.canonical([self._pick(slot, draw, each) for slot, each in enumerate(self.options, start=1)])

    def _pick(self, slot: int, draw: int, options: Sequence[int]) -> int:
        cycle, position = divmod(draw, len(options))
        return shuffled(random.Random(f"{self.seed}/{slot}/{cycle}"), options)[position]
