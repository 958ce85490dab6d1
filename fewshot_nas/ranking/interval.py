"""A statistic with its interval, the rows of tables made of them, and the one place that knows what undefined is.

A correlation is undefined where one side is constant: all truths are equal, or all archs have the same depth. In
memory such a number is nan, in JSON null, in text `undefined`; in a comparison it is below every number, so it is
never the best. The report and the commands need this module, so it imports nothing heavy.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import nan
from typing import Any

from fewshot_nas.cli.errors import InputError


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


SIGNED = "{:+.3f}".format
COMBINED, PREDICTOR, WITHOUT_SCORES = "combined", "predictor", "predictor without scores"  # names of rows
UNSCORED = "combined, as if not scored"
UNTRAINED = "untrained networks"


@dataclass(frozen=True)
class Row:
    """One ranking.

    Attributes:
        truths: the number of truths that it was fitted to.
        archs: the number of archs that have a truth and are ranked; a predictor is judged on those that
            it was not fitted to.
        gain: its tau minus that of the best single proxy on the same archs.
    """

    name: str
    truths: int
    archs: int
    tau: Interval
    gain: Interval

    @property
    def title(self) -> str:
        """The name, and the number of truths if it was fitted to any."""
        return f"{self.name}, {self.truths} truths" if self.truths else self.name


def read_row(where: str, value: Any) -> Row:
    """The row that a JSON value describes.

    Raises:
        InputError: the value does not describe a row.
    """
    try:
        return Row(**{**value, "tau": read_interval(value["tau"]), "gain": read_interval(value["gain"])})
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{where}: {value!r} is not a row of a ranking") from None


def read_interval(value: Mapping[str, Any]) -> Interval:
    return Interval(**{key: nan if number is None else number for key, number in value.items()})


def ranking_table(rows: Sequence[Row]) -> str:
    lines = [["ranking", "archs", "tau [95 %]", "gain [95 %]"]]
    lines += [[row.title, str(row.archs), *(each.text(SIGNED) for each in (row.tau, row.gain))] for row in rows]
    return "\n".join(aligned(lines))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows, some of which may end early, with their columns under each other.

    >>> aligned([["a", "long one"], ["longer"], ["b", "c"]])
    ['a       long one', 'longer', 'b       c']
    """
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def gained(rows: Sequence[Row], proxy: str | None) -> Iterator[str]:
    """What the scores gained over counting, as plain sentences; none where nothing was judged.

    >>> tau, gain = Interval(0.7, 0.5, 0.8, 0.1), Interval(0.3, 0.1, 0.5, 0.1)
    >>> print(*gained([Row("combined", 0, 30, tau, gain)], "params"), sep="\\n")
    Of 100 pairs of archs, the scores combined with multiply-adds order 85 as stand-alone training does.
    Counting params orders 70: a gain beyond chance.

    Args:
        proxy: the best single proxy, which gains are over; None if none tells the archs apart.
    """
    found = {(row.name, row.truths): row for row in rows}
    combined = found.get((COMBINED, 0))
    if combined is None:
        return
    if not combined.tau.defined:
        yield "How well the scores rank is undefined: the truths are all equal, or the scores are."
        return
    right, counted = _pairs(combined.tau.value), combined.tau.value - combined.gain.value
    yield f"Of 100 pairs of archs, the scores combined with multiply-adds order {right} as stand-alone training does."
    if combined.gain.defined:
        yield f"Counting {proxy} orders {_pairs(counted)}: {_chance(combined.gain)}."
    else:
        yield "Counting orders none of them: all archs cost the same."
    for (name, truths), row in found.items():
        without = found.get((WITHOUT_SCORES, truths))
        if name == PREDICTOR and without and row.tau.defined and without.tau.defined:
            yield f"From the truths of {truths} other archs, {_pairs(row.tau.value)} are predicted in the right order,"
            yield f"and {_pairs(without.tau.value)} without the supernet's scores."


def _pairs(tau: float) -> int:
    return round(50 * (1 + tau))


def _chance(gain: Interval) -> str:
    if gain.low > 0:
        return "a gain beyond chance"
    return "the scores rank worse" if gain.high < 0 else "a difference that may be chance"
