"""The rows of the ranker's table. The report and the commands need them, so this module imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fewshot_nas.errors import InputError
from fewshot_nas.ranking.correlation import Interval


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
        return Row(**{**value, "tau": Interval(**value["tau"]), "gain": Interval(**value["gain"])})
    except (KeyError, TypeError):
        raise InputError(f"{where}: {value!r} is not a row of a ranking") from None


def ranking_table(rows: Sequence[Row]) -> str:
    """Rows as aligned text."""
    lines = [["ranking", "archs", "tau [95 %]", "gain [95 %]"]]
    lines += [[row.title, str(row.archs), _shown(row.tau), _shown(row.gain)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _shown(found: Interval) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
