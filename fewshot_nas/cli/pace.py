"""How long the rest of some work takes, judged by how long its beginning took."""

import time
from collections.abc import Callable

_UNITS = (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


class Pace:
    """Estimates the time that is left, from its creation on.

    Args:
        total: the work, in any unit to which its time is proportional.
        report: takes a line for a person; `advance` calls it after 1, 2, 4, 8, ... pieces of the work.
        clock: in seconds.
    """

    def __init__(
        self,
        total: float,
        report: Callable[[str], object] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._report, self._clock = total, report, clock
        self._begun, self._done, self.pieces = clock(), 0.0, 0

    def advance(self, amount: float = 1.0) -> None:
        """Note that a piece of the work is done."""
        self._done, self.pieces = self._done + amount, self.pieces + 1
        if self.pieces & (self.pieces - 1) == 0 and (left := self.left()):
            self._report(f"{100 * self._done / self._total:.0f} % done, {left}")

    def left(self) -> str:
        """Such as `about 12 min left`; empty before the first piece, and when all is done."""
        if not 0 < self._done < self._total:
            return ""
        return f"about {duration(self.whole_s() * (1 - self._done / self._total))} left"

    def whole_s(self) -> float:
        """Seconds that all of the work takes, once a piece is done."""
        return (self._clock() - self._begun) * self._total / self._done


def duration(seconds: float) -> str:
    """Seconds for a person.

    >>> [duration(seconds) for seconds in (0.2, 40, 100, 5_400, 200_000)]
    ['1 s', '40 s', '1.7 min', '1.5 h', '2.3 days']
    """
    name, size = next(((name, size) for name, size in _UNITS if seconds >= 1.5 * size), ("s", 1))
    value = max(seconds / size, 1.0)
    return f"{value:.0f} {name}" if size == 1 or value >= 10 else f"{value:.1f} {name}"
