"""Random sequences of choices whose total cost lies within bounds. Standard library only.

Drawing freely until the bounds are met takes too long if they exclude what is likely. Instead, a
table of rounded costs gives every choice only the probability with which the bounds can still be
met. A sequence that meets them only because of rounding is drawn again. So the result has exactly
the distribution of drawing freely and keeping what lies within the bounds.
"""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

_UNITS = 1 << 10  # costs are rounded to this fraction of the most expensive sequence's cost
_MOST_DRAWS = 1000


class Bounded:
    """Draws sequences with one index for each row of costs.

    Args:
        costs: the cost of each choice at each place.
        probabilities: the probability of each choice, the same at every place.
        minimum, maximum: bounds of the total cost.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], probabilities: Sequence[float], minimum: float, maximum: float
    ) -> None:
        self._costs, self._probabilities, self._minimum, self._maximum = costs, probabilities, minimum, maximum
        unit = sum(map(max, costs)) / _UNITS
        self._rounded = [[int(cost / unit) for cost in row] for row in costs]
        # Rounding lowers each cost by less than one unit.
        self._low, self._high = minimum / unit - len(costs), math.floor(maximum / unit)
        self._chance = lru_cache(maxsize=None)(self._chance_from)

    def draw(self, rng: random.Random) -> tuple[int, ...] | None:
        """A sequence within the bounds; None if there is none, or none was found in many draws."""
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
        """The probability that the rounded costs meet the bounds, given the cost of the places before this one."""
        if place == len(self._costs):
            return float(self._low <= spent <= self._high)
        return sum(
            probability * self._chance(place + 1, spent + cost)
            for probability, cost in zip(self._probabilities, self._rounded[place], strict=True)
        )


def pick(rng: random.Random, weights: Sequence[float]) -> int:
    """Draw an index with probability proportional to its weight; an index of weight 0 is never drawn.

    Only `rng.random()` is called, because its sequence is the only one that Python promises to keep.
    """
    sums = list(accumulate(weights))
    point = rng.random() * sums[-1]
    return next(
        (index for index, reached in enumerate(sums) if point < reached),
        max(index for index, weight in enumerate(weights) if weight),  # rounding put the point at the very end
    )
