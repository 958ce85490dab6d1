"""Costs that add up over the parts of a network, whatever they count.

Multiply-adds are those of convolutions and linear layers; one multiply-add counts as 1. Parameters include the
weight and bias of every batch norm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from fewshot_nas.space.block import Block, Cost, Head
from fewshot_nas.space.space import Arch, Space


@dataclass(frozen=True)
class Measure:
    """A cost of a network that is the sum of its parts' costs, none of them negative.

    Because it adds up, its extremes over a space, and whether bounds of several measures can be met
    together, are found exactly.

    Attributes:
        block: cost of a block at the place with a number.
        head: cost of what follows the last block.

    >>> from fewshot_nas.space.presets import SPACES
    >>> px8 = SPACES["px8"]
    >>> macs = cost_measures(px8, num_classes=10)["macs"]
    >>> f"{macs.of(px8, px8.largest):,}"
    '5,485,696'
    """

    block: Callable[[int, Block], float]
    head: Callable[[Head], float]

    def of(self, space: Space, arch: Arch) -> float:
        """The cost of a subnet.

        Raises:
            InputError: the arch is not of the space.
        """
        return sum(self.block(place, block) for place, block in space.blocks(arch)) + self.head(space.head(arch))


def cost_measures(space: Space, *, resolution: int | None = None, num_classes: int = 1000) -> dict[str, Measure]:
    """Multiply-adds of one image and parameters, by the names `macs` and `params`.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    sides = space.sides(resolution)

    @lru_cache(maxsize=1 << 16)
    def cost(place: int, block: Block) -> Cost:
        return block.cost(sides[place])

    return {
        "macs": Measure(lambda place, block: cost(place, block).macs, lambda head: head.cost(num_classes).macs),
        "params": Measure(lambda place, block: cost(place, block).params, lambda head: head.cost(num_classes).params),
    }
