"""The journal of a search: a line for each generation with its scores, on disk as soon as it is scored.

Proposals depend on the seed and on scores only. So a search that is started again proposes the same archs, takes
the scores that there are from the journal, and ends with the same front.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.accuracy import Accuracy
from fewshot_nas.jsonl import appending, records
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace


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


@dataclass(frozen=True)
class SearchJournal:
    """The generations of a search.

    Attributes:
        manifest: what the scores and the proposals depend on.
        numerics: how the processes compute; the journal notes those of all processes that ever wrote it.
    """

    path: Path
    space: SearchSpace
    manifest: Mapping[str, Any]
    numerics: Sequence[Any]

    def read(self) -> list[Generation]:
        """The generations that were scored.

        Raises:
            InputError: the journal is another search's, or damaged.
        """
        return [self._generation(record) for record in self._records() if "scores" in record]

    def ways(self) -> list[Any]:
        """The numerics of all processes that wrote generations, each once."""
        heads = [way for record in self._records() if "manifest" in record for way in record["numerics"]]
        return [way for place, way in enumerate(heads) if way not in heads[:place]]

    @contextmanager
    def writing(self) -> Iterator[Callable[[Generation], None]]:
        """A function that notes a generation."""
        write = appending(self.path)
        write({"manifest": self.manifest, "numerics": list(self.numerics)})
        yield lambda generation: write(self._record(generation))

    def _records(self) -> Iterator[dict[str, Any]]:
        for record in records(self.path) if self.path.exists() else ():
            if "manifest" in record:
                self._refuse_others(record["manifest"])
            yield record

    def _refuse_others(self, found: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(self.manifest))
        for key in now.keys() | found.keys():
            if found.get(key) != now.get(key):
                raise InputError(
                    f"{self.path.parent} was begun with {key} {found.get(key)}, now it is {now.get(key)};"
                    " go on with the old one, or choose another --name"
                )

    def _record(self, generation: Generation) -> dict[str, Any]:
        scores = {self.space.encode(arch): list(asdict(each).values()) for arch, each in generation.scores.items()}
        return {**vars(generation), "scores": scores}

    def _generation(self, record: Mapping[str, Any]) -> Generation:
        try:
            scores = {self.space.decode(code): Accuracy(*values) for code, values in record["scores"].items()}
            return Generation(**{**record, "scores": scores})
        except (TypeError, AttributeError):
            raise InputError(
                f"{self.path}: holds a line that is no generation; delete the file to begin anew"
            ) from None
