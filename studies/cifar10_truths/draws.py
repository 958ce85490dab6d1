"""Draws of the arm `widest`."""

import random
from dataclasses import dataclass

from fewshot_nas.space.space import Arch, Options, Space, random_arch

STEPS, EACH = 8 * 312, 4  # of the training, and the networks of a step
UNTIL = (0.1, 0.2, 0.3)  # shares of the training in which 1, 2 and 3 options of each width are drawn, the widest ones


@dataclass(frozen=True)
class WidestFirst:
    """At first the widest networks only, then more and more widths (after arXiv:1908.09791).

    Every choice is uniform among the options that are drawn so far; see `training.draws.Drawn`.
    """

    space: Space
    seed: int
    options: Options

    def arch(self, draw: int) -> Arch:
        """A random arch, independent of all other draws."""
        return random_arch(self.space, random.Random(f"{self.seed}/arch/{draw}"), self.drawn(draw))

    def drawn(self, draw: int) -> Options:
        """The options at each slot, of draw number `draw`."""
        share = draw / (STEPS * EACH)
        count = 1 + sum(share >= until for until in UNTIL)
        if count > len(UNTIL):
            return self.options
        each = zip(self.space.slots, self.options, strict=True)
        return tuple(all_[:count] if slot.falling else all_[-count:] for slot, all_ in each)
