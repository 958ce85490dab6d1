"""The rows of the ranker's table. The report and the commands need them, so this module imports nothing heavy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import Interval

COMBINED, PREDICTOR, WITHOUT_SCORES = "combined", "predictor", "predictor without scores"  # names of rows
UNSCORED = "combined, as if not scored"


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


def row_values(row: Row) -> dict[str, Any]:
    """A row as JSON holds it: null where a number is not defined, as in intervals over very few archs."""
    return {**asdict(row), "tau": interval_values(row.tau), "gain": interval_values(row.gain)}


def interval_values(interval: Interval) -> dict[str, Any]:
    """An interval as JSON holds it: null where a number is not defined."""
    return {key: None if isnan(number) else number for key, number in asdict(interval).items()}


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
    """The interval that `interval_values` has written."""
    return Interval(**{key: nan if number is None else number for key, number in value.items()})


def ranking_table(rows: Sequence[Row]) -> str:
    """Rows as aligned text."""
    lines = [["ranking", "archs", "tau [95 %]", "gain [95 %]"]]
    lines += [
        [row.title, str(row.archs), *(each.text("{:+.3f}".format) for each in (row.tau, row.gain))] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


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
