"""Predictions from files of several forms: a number by key, under one name or several.

JSON: `{key: number}`, `{key: {name: number, ...}}`, or an arch file, whose keys are its codes. CSV: heads, then a line
for each key; `rank`'s `predicted.csv` is one.
"""

import csv
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.correlation import Floats
from fewshot_nas.ranking.truth import Truth
from fewshot_nas.records.files import read_json, read_text

Predictions: TypeAlias = dict[str, float]

_KEYS = ("code", "key", "arch")  # heads of the column with the keys, in any case; without them it is the first
_OF_RANK, _ERROR = "predicted_", "error_percent"  # what the column that `rank` predicts begins with; another of its


def read_predictions(path: Path, columns: Sequence[str] = ()) -> dict[str, Predictions]:
    """The numbers of a file by name and key; a cell that is empty has none.

    Args:
        columns: the names that are wanted; if there are none, what `rank` predicts, or all columns of numbers.

    Raises:
        InputError: the file has another form, a key occurs twice, or a number is none.
    """
    rows = dict(_csv(path) if path.suffix.lower() == ".csv" else _rows(path, _json(path)))
    if not rows:
        raise InputError(f"{path}: there are no predictions in it")
    names = _wanted(path, list(rows.values()), columns)
    found: dict[str, Predictions] = {name: {} for name in names}
    for key, row in rows.items():
        for name in names:
            value = row.get(name)
            if value not in (None, ""):
                found[name][key] = _number(f"{path}: {key}: {name}", value)
    return found


def _wanted(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Sequence[str]:
    heads = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        if name not in heads:
            raise InputError(f"{path}: there is no column {name!r}, but there are {', '.join(heads)}")
    numbers = [name for name in heads if any(_is_number(row.get(name)) for row in rows)]
    of_rank = [name for name in numbers if name.startswith(_OF_RANK)] if _ERROR in heads else []
    names = columns or of_rank or numbers
    if not names:
        raise InputError(f"{path}: no column of numbers{', only ' * bool(heads)}{', '.join(heads)}")
    return names


def _csv(path: Path, fewest: int = 2) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = read_text(path).strip("\r\n").splitlines()
    reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
    heads = [head.strip() for head in reader.fieldnames or ()]
    if not heads:
        raise InputError(f"{path}: the file is empty, expected a line of heads, then a line for each key")
    if len(heads) < fewest:
        raise InputError(f"{path}: the first line is {lines[0]!r}, expected heads for keys and numbers, with commas")
    if len(set(heads)) < len(heads):
        raise InputError(f"{path}: the heads are {heads}, expected different ones")
    if all(_is_number(head) for head in heads):
        raise InputError(f"{path}: the first line is {heads}, expected the names of the columns")
    reader.fieldnames = heads
    column, seen = _key_column(heads), set[str]()
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"{path}: line {reader.line_num} has another number of cells than the heads")
            key = row.pop(column).strip()
            if not key:
                raise InputError(f"{path}: line {reader.line_num} has no key")
            if key in seen:
                raise InputError(f"{path}: line {reader.line_num}: {key!r} occurs twice, expected each key once")
            seen.add(key)
            yield key, _numbers_of({name: value.strip() for name, value in row.items()})
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num} is no line of a table ({error})") from None


def _numbers_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without row numbers and other names of its key."""
    no_number = ("", "id", "index", *_KEYS)
    return {
        name: value
        for name, value in row.items()
        if name.lower() not in no_number and not name.lower().startswith("unnamed:")
    }


def _key_column(heads: Sequence[str]) -> str:
    """Of several heads that may be, the one that stands first in `_KEYS`."""
    named = [head for key in _KEYS for head in heads if head.lower() == key]
    return (named or heads)[0]


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except InputError as error:
        form = "" if path.suffix == ".json" or not path.is_file() else "; the name of a table with commas ends in .csv"
        raise InputError(f"{error}{form}") from None


def _rows(path: Path, content: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The keys of a JSON file's content, and the numbers of each by name."""
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object with a number for each key")
    seen = set[str]()
    for key, value in content.items():
        if isinstance(value, dict) and "arch" in value:
            if not isinstance(value["arch"], str):
                raise InputError(f"{path}: {key}: the arch is {value['arch']!r}, expected a code")
            if value["arch"] in seen:
                raise InputError(f"{path}: {key}: {value['arch']!r} occurs twice, expected each arch once")
            seen.add(value["arch"])
            yield value["arch"], _numbers_of(value)
        else:
            yield key, _numbers_of(value) if isinstance(value, dict) else {"value": value}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)


def _number(where: str, value: Any) -> float:
    if not _is_number(value) or not math.isfinite(float(value)):
        raise InputError(f"{where} is {value!r}, expected a finite number; `--column` chooses columns")
    return float(value)


def _zeros_lost(key: str, truth: Truth) -> str:
    """A guess at why a key is none of the truth's: a spreadsheet took it for a number."""
    whole = key.zfill(len(truth.keys[0]))
    try:
        truth.network(whole)
    except InputError:
        return ""
    return "; were leading zeros lost?" if key.isdigit() else ""


def read_keys(path: Path) -> list[str]:
    """The keys of a file, whatever stands beside them: a file of predictions, a JSON list, or a CSV of one column.

    Raises:
        InputError: the file has another form.
    """
    if path.suffix.lower() == ".csv":
        return [key for key, _ in _csv(path, fewest=1)]
    content = _json(path)
    if isinstance(content, list) and all(isinstance(key, str) for key in content):
        return content
    return [key for key, _ in _rows(path, content)]


def on_truth(path: Path, predictions: Predictions, truth: Truth) -> tuple[Floats, int]:
    """Predictions in the order of a truth, nan where there is none, and the number of keys that it does not have.

    Keys of the same network count as one, with the mean of their predictions.

    Raises:
        InputError: a key is none of the truth's.
    """
    place: dict[Hashable, int] = {truth.network(key): number for number, key in enumerate(truth.keys)}
    sums, counts, others = np.zeros(len(place)), np.zeros(len(place)), 0
    for key, value in predictions.items():
        try:
            number = place.get(truth.network(key))
        except InputError as error:
            raise InputError(f"{path}: {error}{_zeros_lost(key, truth)}") from None
        if number is None:
            others += 1
        else:
            sums[number] += value
            counts[number] += 1
    return np.divide(sums, counts, out=np.full(len(place), np.nan), where=counts > 0), others
