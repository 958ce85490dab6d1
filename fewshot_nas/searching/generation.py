"""The generations of a search, as its journal keeps them.

Proposals depend on the seed and on scores only. So a search that is started again proposes the same archs, takes
the scores that there are from the journal, and ends with the same front.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.accuracy import Accuracy
from fewshot_nas.records.journal import Journal
from fewshot_nas.records.jsonl import Record
from fewshot_nas.space.space import Arch, Space


@dataclass(frozen=True)
class Generation:
    """The archs that were scored as one tree.

    Attributes:
        macs, plain_macs: multiply-adds for one image, of the tree and of the same archs one by one.
        seconds: duration of the scoring.
    """

    scores: Mapping[Arch, Accuracy]
    macs: int
    plain_macs: int
    seconds: float

    def record(self, space: Space) -> dict[str, Any]:
        """The form in which a journal holds it."""
        scores = {space.encode(arch): list(asdict(each).values()) for arch, each in self.scores.items()}
        return {**vars(self), "scores": scores}


def generations(journal: Journal, space: Space) -> list[Generation]:
    """The generations that were scored.

    Raises:
        InputError: the journal is another search's, or damaged.
    """
    return [_generation(journal, space, record) for record in journal.read()]


def _generation(journal: Journal, space: Space, record: Record) -> Generation:
    try:
        scores = {space.decode(code): Accuracy(*values) for code, values in record["scores"].items()}
        return Generation(**{**record, "scores": scores})
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{journal.path}: holds a line that is no generation; delete the file to begin anew") from None
