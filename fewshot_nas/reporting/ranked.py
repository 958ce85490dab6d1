"""The ranker's table, read from a run's file."""

from dataclasses import dataclass
from pathlib import Path

from fewshot_nas.commands import command_line
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json
from fewshot_nas.ranking.rows import Row, read_row


@dataclass(frozen=True)
class Ranked:
    """The result of `python -m fewshot_nas.rank`.

    Attributes:
        scores: directories of the evaluations that were used.
        archs, scored, truths: the numbers of archs that were predicted, that had scores, and that had a truth.
        predicted: the quantity that was predicted.
    """

    scores: tuple[str, ...]
    archs: int
    scored: int
    truths: int
    predicted: str
    best_proxy: str | None
    rows: tuple[Row, ...]


def read_ranked(path: Path, save: str) -> Ranked | None:
    """Read the ranker's table of a run; None if there is no file.

    Raises:
        InputError: the file holds something else.
    """
    if not path.exists():
        return None
    content = read_json(path)
    try:
        rows = tuple(read_row(str(path), row) for row in content["rows"])
        archs, scored, truths = (int(content[key]) for key in ("archs", "scored", "truths"))
        sources, predicted, best = tuple(content["scores"]), content["predicted"], content["best_proxy"]
        return Ranked(sources, archs, scored, truths, predicted, best, rows)
    except (KeyError, TypeError, ValueError):
        anew = command_line("rank", save=save)
        raise InputError(f"{path}: is not the ranker's table; `{anew}` makes it anew") from None
