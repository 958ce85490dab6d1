"""A statistic with its interval, and the one place that knows what an undefined statistic is.

A correlation is undefined where one side is constant: all truths are equal, or all archs have the same depth. In
memory such a number is nan, in JSON null, in text `undefined`; in a comparison it is below every number, so it is
never the best.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic with its 95 % interval and standard error.

    All four are nan if the statistic is undefined; all but `value` are nan if no resample defines it.
    """

    value: float
    low: float
    high: float
    error: float

    @property
    def defined(self) -> bool:
        """Whether the statistic has a value."""
        return not math.isnan(self.value)

    def text(self, number: Callable[[float], str] = "{:.3f}".format) -> str:
        """`0.610 [0.380, 0.770]`, or `undefined`.

        >>> UNDEFINED.text()
        'undefined'
        """
        bounds = "" if math.isnan(self.low) else f" [{number(self.low)}, {number(self.high)}]"
        return shown(self.value, number) + ("" if not self.defined else bounds)


UNDEFINED = Interval(math.nan, math.nan, math.nan, math.nan)


def shown(value: float, number: Callable[[float], str] = "{:.3f}".format) -> str:
    """A statistic without its interval."""
    return "undefined" if math.isnan(value) else number(value)


def merit(value: float) -> float:
    """The key by which statistics are compared: an undefined one is below all others.

    >>> max([math.nan, -0.5], key=merit)
    -0.5
    """
    return -math.inf if math.isnan(value) else value
