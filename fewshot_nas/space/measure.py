"""Costs that add up over the parts of a network, whatever they count."""

from collections.abc import Callable
from dataclasses import dataclass

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.cost import Cost, block_cost, head_cost, sizes, stem_cost
from fewshot_nas.space.search_space import SearchSpace


@dataclass(frozen=True)
class Measure:
    """A cost of a network that is the sum of its parts' costs, none of them negative.

    Because it adds up, its extremes over a space, and whether bounds of several measures can be met
    together, are found exactly.

    Attributes:
        stem, head: cost by the number of channels.
        block: cost of a block.

    >>> from fewshot_nas.space.sampling import largest
    >>> from fewshot_nas.space.search_space import SPACES
    >>> macs = cost_measures(SPACES["px8"], num_classes=10)["macs"]
    >>> f"{macs.of(SPACES['px8'], largest(SPACES['px8'])):,}"
    '5,485,696'
    """

    stem: Callable[[int], float]
    block: Callable[[Block], float]
    head: Callable[[int], float]

    def of(self, space: SearchSpace, arch: Arch) -> float:
        """The cost of a subnet.

        Raises:
            InputError: the arch is not of the space.
        """
        blocks = space.blocks(arch)
        return self.stem(blocks[0].inputs) + sum(map(self.block, blocks)) + self.head(blocks[-1].out)


def cost_measures(space: SearchSpace, *, resolution: int | None = None, num_classes: int = 1000) -> dict[str, Measure]:
    """Multiply-adds of one image and parameters, by the names `macs` and `params`.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    maps = sizes(space, resolution)

    def measure(pick: Callable[[Cost], int]) -> Measure:
        return Measure(
            lambda width: pick(stem_cost(space, width, maps.stem)),
            lambda block: pick(block_cost(block, maps.before(block))),
            lambda width: pick(head_cost(width, num_classes)),
        )

    return {"macs": measure(lambda cost: cost.macs), "params": measure(lambda cost: cost.params)}
