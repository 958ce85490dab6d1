"""The journal of an evaluation: its finished work units, one line each, safe on disk at once.

One process writes it. A head says what the units below it depend on: the job's manifest, and the
plan itself, because a unit is known by its number only. Each process that goes on with a journal
writes a head of its own, so that the numerics of all of them are known in the end.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.accuracy import Sums
from fewshot_nas.evaluation.prefix_tree import Plan
from fewshot_nas.evaluation.work import UnitSums
from fewshot_nas.jsonl import appending, records
from fewshot_nas.results.score_files import journal_path


class Journal:
    """The finished units of one job.

    Args:
        directory: of the job's scores.
        parts: the job's parts as a word, `1-8`.
        manifest: what the scores depend on.
    """

    def __init__(self, directory: Path, parts: str, manifest: Mapping[str, Any], plan: Plan) -> None:
        members = repr([unit.members for unit in plan.units]).encode()
        self._head = {**manifest, "plan_sha256": hashlib.sha256(members).hexdigest()}
        self._path = journal_path(directory, parts)

    def read(self) -> dict[int, UnitSums]:
        """The units that are done.

        Raises:
            InputError: the journal is of another evaluation, or damaged.
        """
        done: dict[int, UnitSums] = {}
        for record in records(self._path):
            if "unit" in record:
                done[record["unit"]] = [Sums(*each) for each in record["correct"]]
            else:
                refuse_others(self._head, self._path, record)
        return done

    def numerics(self) -> list[Any]:
        """How the processes computed that wrote the units."""
        heads = [record["numerics"] for record in records(self._path) if "unit" not in record]
        return [way for head in heads for way in (head if isinstance(head, list) else [head])]

    @contextmanager
    def writing(self) -> Iterator[Callable[[int, UnitSums], None]]:
        """A function that notes a unit; when it returns, the unit is on disk."""
        write = appending(self._path)
        write(self._head)
        yield lambda unit, sums: write({"unit": unit, "correct": sums})

    def remove(self) -> None:
        """Remove the journal; call it when the score files are there."""
        self._path.unlink(missing_ok=True)


def refuse_others(expected: Mapping[str, Any], path: Path, found: Mapping[str, Any]) -> None:
    """Refuse to mix scores of two evaluations; other numerics may go on, and the manifest names both.

    Raises:
        InputError: `found`, which `path` holds, differs from what is expected.
    """
    expected = json.loads(json.dumps(expected))  # as it would have been read
    for key in (key for key in expected if key != "numerics"):
        if found.get(key) != expected[key]:
            raise InputError(
                f"{path}: was written with {key}={found.get(key)}, now it is {expected[key]};"
                " remove the directory's files to evaluate anew, or choose another --epoch"
            )
