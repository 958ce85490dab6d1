"""What a search has found: all archs that it scored, and the front of those that none beats.

`found.json` holds both, `front.csv` the front as a table to copy from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_csv, write_json
from fewshot_nas.results.run import run_directory, searches

_OWN = ("measures", "front", "pool", "archs")  # what a file has beside the manifest


@dataclass(frozen=True, slots=True)
class FoundArch:
    """An arch that a search has scored.

    Attributes:
        score: supernet's score or the ranker's prediction, in percent.
        costs: `macs` of one image, `params`, and `latency` in microseconds where there is a table of it.
    """

    code: str
    score: float
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes:
        manifest: what it depends on, its bounds among it.
        archs: all of them, the best first.
        measures: names of the costs that the front trades for the score.
        pool: the front of the pool's archs within the same bounds, by the same valuation; empty where
            the pool has no scores.
    """

    manifest: Mapping[str, Any]
    archs: Sequence[FoundArch]
    measures: Sequence[str]
    pool: Sequence[FoundArch] = ()

    @property
    def front(self) -> list[FoundArch]:
        """The archs that no other one beats in score and all measures, the best first."""
        return front(self.archs, self.measures)


def front(archs: Iterable[FoundArch], measures: Sequence[str]) -> list[FoundArch]:
    """The archs than which no other is as good in score and in all measures and better in one; the best first.

    >>> one, two, three = (FoundArch(c, s, {"macs": m}) for c, s, m in (("a", 9, 5), ("b", 8, 3), ("c", 7, 4)))
    >>> [arch.code for arch in front([three, two, one], ["macs"])]
    ['a', 'b']
    """
    kept: list[tuple[float, ...]] = []
    found = []
    for arch in sorted(archs, key=lambda arch: (-arch.score, *(arch.costs[name] for name in measures), arch.code)):
        costs = tuple(arch.costs[name] for name in measures)
        if not any(all(theirs <= ours for theirs, ours in zip(other, costs, strict=True)) for other in kept):
            kept.append(costs)
            found.append(arch)
    return found


def write_found(path: Path, table: Path, found: Found) -> None:
    """Write the outcome as JSON, and the front as a table."""
    names = list(found.archs[0].costs) if found.archs else []
    write_json(
        path,
        {
            **found.manifest,
            "measures": list(found.measures),
            "front": [_plain(arch) for arch in found.front],
            "pool": [_plain(arch) for arch in found.pool],
            "archs": [_plain(arch) for arch in found.archs],
        },
    )
    rows = ([arch.code, arch.score, *arch.costs.values()] for arch in found.front)
    write_csv(table, ["code", "score_percent", *names], rows)


def read_found(path: Path) -> Found:
    """Read what `write_found` has written.

    Raises:
        InputError: the file is no such one.
    """
    content = read_json(path)
    try:
        archs, pool = (list(map(_read, content[key])) for key in ("archs", "pool"))
        measures = [str(name) for name in content["measures"]]
        found = Found({key: content[key] for key in content if key not in _OWN}, archs, measures, pool)
        known = all(name in arch.costs for arch in (*archs, *pool) for name in measures)
    except (KeyError, TypeError, ValueError):
        known = False
    if not known:
        raise InputError(f"{path}: is not what a search has found; the search's command writes it anew")
    return found


@dataclass(frozen=True)
class Best:
    """The best arch of a search, and the supernet that was searched.

    Attributes:
        search: the search's name.
    """

    search: str
    code: str
    model: Path
    model_sha256: str | None


def read_best(path: Path, save: str) -> Best:
    """The best arch in what a search has found.

    Args:
        save: the run whose supernet it is, if the file no longer lies in that run.

    Raises:
        InputError: the file is no such one, or the search has found no arch.
    """
    if not path.exists():
        form = run_directory(save) / "searches" / "NAME" / "found.json"
        there = ", ".join(map(str, searches(save))) or "none"
        raise InputError(f"{path}: no such file, expected {form} of a finished search, which are {there}")
    found = read_found(path)
    if not found.archs:
        raise InputError(f"{path}: the search has found no arch")
    # The run may have been moved or renamed: the file is results/<save>/searches/<name>/found.json.
    own, inside = path.absolute().parents[2:3], found.manifest.get("checkpoint", "supernet.pth")
    places = [run / inside for run in (*own, run_directory(save))]
    model = next((place for place in places if place.exists()), places[-1])
    return Best(path.resolve().parent.name, found.archs[0].code, model, found.manifest.get("checkpoint_sha256"))


def _read(value: Mapping[str, Any]) -> FoundArch:
    costs = {name: float(cost) for name, cost in value.items() if name not in ("code", "score")}
    return FoundArch(str(value["code"]), float(value["score"]), costs)


def _plain(arch: FoundArch) -> dict[str, Any]:
    return {"code": arch.code, "score": arch.score, **arch.costs}
