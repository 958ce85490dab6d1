"""Tables of files and labels: CSV or TSV with a header, and Hugging Face's metadata, a JSON object a line."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import Labelled, suffixes
from fewshot_nas.records.files import read_text

ALL = "all"  # the part of images that are not split
NAMES = {"train": ("train", "training"), "valid": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
PART = {name: part for part, names in NAMES.items() for name in names}
ENDINGS = (".csv", ".tsv", ".jsonl")
_FILE_COLUMNS = (
    "file_name", "filename", "file", "filepath", "path", "image_path", "image", "image_name", "img", "image_id", "id",
)  # fmt: skip
_LABEL_COLUMNS = ("label", "class", "class_name", "target", "category", "labels")
_PART_COLUMNS = ("split", "part", "set", "subset")


def only_table(root: Path) -> dict[str, Path]:
    """The only table in a directory, as that of all images; none if there is none.

    Raises:
        InputError: there are several.
    """
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith("."))
    if len(tables) > 1:
        named = ", ".join(path.name for path in tables[:3])
        raise InputError(
            f"{root}: has {len(tables)} tables ({named}); name the one with the labels: --data {tables[0]}"
        )
    return dict.fromkeys([ALL], *tables) if tables else {}


def read_tables(root: Path, tables: Mapping[str, Path]) -> tuple[dict[str, Labelled], list[str], list[str]]:
    """Files by part, names of classes, and sentences about rows that are left out.

    Names of files are relative to the table, or those of files anywhere below the root.

    Raises:
        InputError: a table is malformed, or a file is not there; names the table and the line.
    """
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    notes, below = [], dict[str, str | None]()
    for part, path in tables.items():
        unlabelled = 0
        for number, file, label, own in _rows(path):
            if not label:
                unlabelled += 1
                continue
            below = below or {"": None}
            rows[own or part].append((_file(root, path, number, file, below), label))
        if unlabelled:
            notes.append(f"{path}: {unlabelled} rows have no label and are left out")
    named = {label for each in rows.values() for _, label in each}
    classes = sorted(named, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))
    if "train" in rows and ALL in rows:
        raise InputError(f"{next(iter(tables.values()))}: some rows name their part and some do not")
    number_of = {name: number for number, name in enumerate(classes)}
    parts = {
        part: Labelled([file for file, _ in each], [number_of[label] for _, label in each])
        for part, each in rows.items()
    }
    return parts, classes, notes


def _rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    """Line, file, label and part (or an empty text) of each row."""
    header, rows = _objects(path) if path.suffix.lower() == ".jsonl" else _cells(path)
    names = [name.lower() for name in header]
    places = [
        next((names.index(name) for name in known if name in names), None)
        for known in (_FILE_COLUMNS, _LABEL_COLUMNS, _PART_COLUMNS)
    ]
    if places[0] is None or places[1] is None:
        raise InputError(
            f"{path}: the header is {', '.join(header) or 'empty'}; expected a column of files ({_FILE_COLUMNS[0]},"
            f" file, path, image) and one of labels ({_LABEL_COLUMNS[0]}, class), or no table"
            " beside directories of classes"
        )
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}: line {number} has {len(row)} values, expected {len(header)}")
        file, label, part = ("" if place is None else row[place] for place in places)
        if part and part.lower() not in PART:
            raise InputError(f"{path}: line {number} names the part {part!r}, expected train, val or test")
        yield number, file, label, PART.get(part.lower(), "")


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the line number and cells of each row that is not empty."""
    lines = read_text(path).splitlines()
    delimiter = max(",;\t", key=(lines or [""])[0].count)
    header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)] or [[]]
    return header, [(number, row) for number, row in enumerate(rows, start=2) if any(row)]


def _objects(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The same of objects, whose keys are the header; what one of them lacks is empty."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                found.append((number, dict(json.loads(line))))
            except (ValueError, TypeError):
                raise InputError(f"{path}: line {number} is no JSON object") from None
    header = list(dict.fromkeys(key for _, each in found for key in each))
    return header, [(number, [_text(each.get(key)) for key in header]) for number, each in found]


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _file(root: Path, table: Path, number: int, name: str, below: dict[str, str | None]) -> str:
    """The file that a row names, with or without its directory and ending.

    Args:
        below: all files below the root by their names and stems, filled when it is needed; None if several have it.
    """
    for place in (table.parent, root):
        if (place / name).is_file():
            return str((place / name).relative_to(root)) if not Path(name).is_absolute() else name
    if len(below) == 1:
        for directory, _, files in sorted(os.walk(root)):
            for file in sorted(files):
                if Path(file).suffix.lower() in suffixes():
                    path = str((Path(directory) / file).relative_to(root))
                    for key in {file, Path(file).stem}:
                        below[key] = None if key in below else path
    if found := below.get(Path(name).name):
        return found
    reason = "several files have this name" if Path(name).name in below else "no such file"
    raise InputError(f"{table}: line {number} names {name!r}, but {reason} below {root}")
