"""Journals: finished pieces of work, a line each and safe on disk at once, under a head that says what they depend on.

An evaluation notes its work units, a search its generations. One process writes a journal. Each process that goes
on with it writes a head of its own, so that the numerics of all of them are known in the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.comparing import differing, refuse_difference
from fewshot_nas.records.jsonl import Record, appending, records


@dataclass(frozen=True)
class Journal:
    """One journal.

    Attributes:
        begun: the beginning of the sentence that refuses other work's journal, such as `results/run was begun with`.
        manifest: what the work depends on.
        remedy: the end of that sentence, what to do.
    """

    path: Path
    begun: str
    manifest: Mapping[str, Any]
    remedy: str

    def read(self) -> list[Record]:
        """The pieces that are done.

        Raises:
            InputError: the journal is of other work, or damaged.
        """
        return [record for record in self._records() if "manifest" not in record]

    def numerics(self) -> list[Any]:
        """Numerics of all processes that wrote to this journal, without repeats."""
        found = [each for record in self._records() if "manifest" in record for each in record["numerics"]]
        return [each for place, each in enumerate(found) if each not in found[:place]]

    def writing(self, numerics: Sequence[Any]) -> Callable[[Mapping[str, Any]], None]:
        """A function that notes a piece; when it returns, the piece is on disk."""
        write = appending(self.path)
        write({"manifest": self.manifest, "numerics": list(numerics)})
        return write

    def _records(self) -> Iterator[Record]:
        for number, record in enumerate(records(self.path)):
            if "manifest" in record:
                keys = differing(record["manifest"], self.manifest)
                refuse_difference(self.begun, record["manifest"], self.manifest, self.remedy, keys)
            elif number == 0:
                raise InputError(f"{self.path}: begins without a head; delete it to begin anew")
            yield record
