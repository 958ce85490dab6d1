"""Draws sequences of choices whose costs sum to within bounds. Standard library only.

Drawing until the bounds are met is hopeless where they leave out what is likely. So a table of
rounded costs leads every draw to where the bounds can be met, and what rounding let through is
drawn again: the result has exactly the distribution of drawing freely and keeping what fits.
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

_UNITS = 1 << 10  # of the dearest sequence's cost
_MOST_DRAWS = 1000


class Bounded:
    """Sequences of indices, one for each row of costs.

    Args:
        costs: of each choice at each place.
        probabilities: of each choice, at every place the same.
        minimum, maximum: of the sum of costs.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], probabilities: Sequence[float], minimum: float, maximum: float
    ) -> None:
        self._costs, self._probabilities, self._minimum, self._maximum = costs, probabilities, minimum, maximum
        unit = sum(map(max, costs)) / _UNITS
        self._rounded = [[int(cost / unit) for cost in row] for row in costs]
        # Each place is rounded down by less than a unit.
        self._low, self._high = minimum / unit - len(costs), math.floor(maximum / unit)
        self._chance = lru_cache(maxsize=None)(self._chance_from)

    def draw(self, rng: random.Random) -> tuple[int, ...] | None:
        """A sequence within the bounds, or None if there is hardly one."""
        for _ in range(_MOST_DRAWS if self._chance(0, 0) else 0):
            drawn = self._proposal(rng)
            if (
                self._minimum
                <= sum(row[choice] for row, choice in zip(self._costs, drawn, strict=True))
                <= self._maximum
            ):
                return drawn
        return None

    def _proposal(self, rng: random.Random) -> tuple[int, ...]:
        """A sequence whose rounded costs meet the bounds."""
        drawn: list[int] = []
        spent = 0
        for place, row in enumerate(self._rounded):
            weights = [
                probability * self._chance(place + 1, spent + cost)
                for probability, cost in zip(self._probabilities, row, strict=True)
            ]
            drawn.append(pick(rng, weights))
            spent += row[drawn[-1]]
        return tuple(drawn)

    def _chance_from(self, place: int, spent: int) -> float:
        """The probability that the bounds are met, given the rounded cost of the places before."""
        if place == len(self._costs):
            return float(self._low <= spent <= self._high)
        return sum(
            probability * self._chance(place + 1, spent + cost)
            for probability, cost in zip(self._probabilities, self._rounded[place], strict=True)
        )


def pick(rng: random.Random, weights: Sequence[float]) -> int:
    """An index, as likely as its share of the weights; never one of weight 0.

    Only `rng.random()` is called, the one method whose sequence Python promises to keep.
    """
    sums = list(accumulate(weights))
    point = rng.random() * sums[-1]
    return next(
        (index for index, reached in enumerate(sums) if point < reached),
        max(index for index, weight in enumerate(weights) if weight),  # rounding put the point at the very end
    )
