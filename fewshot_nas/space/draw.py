"""Drawing archs. Each draw depends only on its arguments; there is no global generator.

Draws only use `random.Random.random()`, because its sequence is the only one that Python promises to keep.
"""

import math
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TypeVar

from fewshot_nas.space.space import Arch, Options, Space

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)
_UNITS = 1 << 10  # costs are rounded to this fraction of the most expensive sequence's cost
_MOST_DRAWS = 1000


def distinct(draw: Callable[[], H], count: int, known: Collection[H] = (), patience: int | None = None) -> list[H]:
    """Draw until `count` different results are found that are not known, in the order in which they came.

    There are fewer if there seem to be no others: `patience` draws in a row were repetitions, by default 1000, and 20
    for each result.
    """
    found: dict[H, None] = {}
    repeats = 0
    while len(found) < count and repeats < (patience or 1000 + 20 * len(found)):
        before, drawn = len(found), draw()
        if drawn not in known:
            found.setdefault(drawn)
        repeats = repeats + 1 if len(found) == before else 0
    return list(found)


def all_archs(space: Space, options: Options | None = None) -> Iterator[Arch]:
    """Every arch with these options, each once, in ascending order."""

    def from_slot(begun: list[int]) -> Iterator[Arch]:
        number = len(begun)
        if number == len(space.slots):
            yield tuple(begun)
            return
        when = space.slots[number].when
        here = each[number] if when is None or begun[when[0]] >= when[1] else (0,)
        for value in here:
            yield from from_slot([*begun, value])

    each = options or space.all_options
    return from_slot([])


def shuffled(rng: random.Random, options: Sequence[T]) -> list[T]:
    """The options in a random order; only `rng.random()` is called."""
    return sorted(options, key=lambda _: rng.random())


class Bounded:
    """Draws sequences with one index for each row of costs, such that their total cost lies within bounds.

    Drawing freely until the bounds are met takes too long if they exclude what is likely. Instead, a table of rounded
    costs gives every choice only the probability with which the bounds can still be met. A sequence that meets them
    only because of rounding is drawn again. So the result has exactly the distribution of drawing freely and keeping
    what lies within the bounds.

    Args:
        costs: the cost of each choice at each place.
        probabilities: the probability of each choice at each place.
        minimum, maximum: bounds of the total cost.
    """

    def __init__(
        self, costs: Sequence[Sequence[float]], probabilities: Sequence[Sequence[float]], minimum: float, maximum: float
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
                for probability, cost in zip(self._probabilities[place], row, strict=True)
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
            for probability, cost in zip(self._probabilities[place], self._rounded[place], strict=True)
        )


def pick(rng: random.Random, weights: Sequence[float]) -> int:
    """Draw an index with probability proportional to its weight; an index of weight 0 is never drawn."""
    sums = list(accumulate(weights))
    point = rng.random() * sums[-1]
    return next(
        (index for index, reached in enumerate(sums) if point < reached),
        max(index for index, weight in enumerate(weights) if weight),  # rounding put the point at the very end
    )
