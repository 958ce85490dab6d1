"""The layouts in which people bring images (docs/fit.md has a table): what lies under a directory, by part."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import CLASSES, LISTS, Labelled, class_directories, class_names, listed, read_list, suffixes
from fewshot_nas.data.known import CIFAR10, CIFAR100
from fewshot_nas.records.files import read_text

ALL = "all"  # the part of images that are not split
_NAMES = {"train": ("train", "training"), "valid": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
_PART = {name: part for part, names in _NAMES.items() for name in names}
_FILE_COLUMNS = ("file_name", "filename", "file", "filepath", "path", "image_path", "image", "img", "image_id", "id")
_LABEL_COLUMNS = ("label", "class", "class_name", "target", "category", "labels")
_PART_COLUMNS = ("split", "part", "set", "subset")
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # beside meta.mat, which tells what its numbers stand for


class Layout(NamedTuple):
    """Images as they were brought.

    Attributes:
        title: of the layout, for people.
        source: the name of the data source that reads it as it is; empty where `parts` tells the files.
        parts: `train`, `valid` and `test` as far as they are there, or `all`.
        notes: sentences about files that were found and left out.
    """

    title: str
    source: str = ""
    parts: Mapping[str, Labelled] = {}
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()


def recognised(root: Path) -> Layout:
    """The layout of a directory, or of a table by its file.

    Raises:
        InputError: there is no such directory, no layout is recognised, or a file of it is malformed.
    """
    if root.is_file() and root.suffix.lower() in (".csv", ".tsv"):
        return _tables(root.parent, {ALL: root})
    if not root.is_dir():
        raise InputError(f"{root.absolute()}: no such directory; expected images, by classes, or with a list of labels")
    if (known := _cifar(root)) is not None:
        return known
    if all((root / name).is_file() for name in LISTS.values()):
        return Layout("lists of the competition's names", "lists")
    if (root / "wnids.txt").is_file() and (root / "val" / "val_annotations.txt").is_file():
        return _tiny_imagenet(root)
    if (flat := _flat_validation(root)) is not None:
        return _imagenet(root, flat)
    if tables := _by_part(root, ".csv") or _by_part(root, "/metadata.csv") or _only_table(root):
        return _tables(root, tables)
    if lists := _by_part(root, ".txt"):
        return _lists(root, lists)
    return _class_folders(root)


def _cifar(root: Path) -> Layout | None:
    for kind, name in ((CIFAR10, "cifar10"), (CIFAR100, "cifar100")):
        if any(all((place / file).is_file() for file in kind.files) for place in (root / kind.folder, root)):
            return Layout(kind.title, name)
        if (archive := root / f"{kind.title.lower()}-python.tar.gz").is_file():
            raise InputError(f"{archive}: is not unpacked; `tar -xzf {archive} -C {root}` does it")
    return None


def _by_part(root: Path, ending: str) -> dict[str, Path]:
    """The file or directory of each part, by its usual names with an ending; none unless there is one to train on.

    Capitals do not count: `Train` and `TRAIN.csv` are parts, too.
    """
    found: dict[str, Path] = {}
    own, _, below = ending.partition("/")
    there = {entry.name.lower(): root / entry.name for entry in sorted(os.scandir(root), key=lambda entry: entry.name)}
    for name, part in _PART.items():
        if f"{name}{own}" in there and (path := there[f"{name}{own}"] / below).exists():
            if part in found:
                raise InputError(f"{root}: both {found[part].name} and {path.name} are there; remove one of them")
            found[part] = path
    return found if "train" in found else {}


def _lists(root: Path, lists: Mapping[str, Path]) -> Layout:
    parts = {part: read_list(path) for part, path in lists.items()}
    numbers = range(1 + max(label for part in parts.values() for label in part.labels))
    return Layout("lists", parts=parts, classes=class_names(root / CLASSES) or list(map(str, numbers)))


def _class_folders(root: Path) -> Layout:
    parts = {part: path for part, path in _by_part(root, "").items() if path.is_dir()}
    places = {part: path.name for part, path in parts.items()} if "train" in parts else {ALL: "."}
    first = next(iter(places.values()))
    classes, found, notes = class_directories(root / first), dict[str, Labelled](), list[str]()
    if not classes:
        beside = sum(entry.name.lower().endswith(tuple(suffixes())) for entry in os.scandir(root / first))
        raise InputError(
            f"{(root / first).absolute()}: has no directories of classes"
            + f" ({beside} image files)" * (beside > 0)
            + "; expected <class>/, train/<class>/ and val/<class>/, a CSV with a header, or lists"
        )
    if ALL in places and all(name.lower() in _PART for name in classes):
        raise InputError(
            f"{root}: has {', '.join(classes)}, but no train; expected <class>/, or train/<class>/ and more"
        )
    for part, place in places.items():
        there = class_directories(root / place)
        if part == "test" and not there:
            notes.append(
                f"{root / place}: has no directories of classes, so its images have no labels and are left out"
            )
            continue
        if unknown := sorted(set(there) - set(classes)):
            raise InputError(f"{root / place / unknown[0]}: no such class in {root / first}")
        found[part], note = listed(root, place, classes)
        notes.append(note)
    return Layout("class folders", parts=found, classes=classes, notes=notes)


def _only_table(root: Path) -> dict[str, Path]:
    tables = sorted(root.glob("*.csv"))
    if len(tables) > 1:
        named = ", ".join(path.name for path in tables[:3])
        raise InputError(
            f"{root}: has {len(tables)} tables ({named}); name the one with the labels: --data {tables[0]}"
        )
    return dict.fromkeys([ALL], *tables) if tables else {}


def _tables(root: Path, tables: Mapping[str, Path]) -> Layout:
    """Files and class names by tables; names of files are relative to the table, or those of files anywhere below."""
    rows: dict[str, list[tuple[str, str]]] = defaultdict(list)
    notes, below = [], dict[str, str | None]()
    for part, path in tables.items():
        unlabelled = 0
        for number, (file, label, own) in enumerate(_rows(path), start=2):
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
    return Layout("a table of files and labels", parts=parts, classes=classes, notes=notes)


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """File, label and part (or an empty text) of each row."""
    lines = read_text(path).splitlines()
    delimiter = max(",;\t", key=(lines or [""])[0].count)
    header, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)] or [[]]
    names = [name.lower() for name in header]
    places = [
        next((names.index(name) for name in known if name in names), None)
        for known in (_FILE_COLUMNS, _LABEL_COLUMNS, _PART_COLUMNS)
    ]
    if places[0] is None or places[1] is None:
        raise InputError(
            f"{path}: the header is {', '.join(header) or 'empty'}; expected a column of files ({_FILE_COLUMNS[0]},"
            f" file, path, image) and one of labels ({_LABEL_COLUMNS[0]}, class)"
        )
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise InputError(f"{path}: line {number} has {len(row)} values, expected {len(header)}")
        file, label, part = ("" if place is None else row[place] for place in places)
        if part and part.lower() not in _PART:
            raise InputError(f"{path}: line {number} names the part {part!r}, expected train, val or test")
        yield file, label, _PART.get(part.lower(), "")


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


def _tiny_imagenet(root: Path) -> Layout:
    """Stanford's archive: the images of val have labels, those of test have none, so val is tested on."""
    classes = read_text(root / "wnids.txt").split()
    known = {name: number for number, name in enumerate(sorted(classes))}
    train, note = listed(root, "train", sorted(classes))
    annotations = root / "val" / "val_annotations.txt"
    rows = [line.split("\t")[:2] for line in read_text(annotations).splitlines() if line.strip()]
    labels = _numbers(annotations, (row[-1] for row in rows), known)
    valid = Labelled([f"val/images/{row[0]}" for row in rows], labels)
    return Layout(
        "Tiny ImageNet",
        parts={"train": train, "test": valid},
        classes=_in_words(sorted(classes), root / "words.txt"),
        notes=[note],
    )


def _in_words(wnids: Sequence[str], path: Path) -> list[str]:
    """The first word for each class, where the list of words is there, and no two classes have the same."""
    if not path.is_file():
        return list(wnids)
    words = dict(line.split("\t", 1) for line in read_text(path).splitlines() if "\t" in line)
    found = [words.get(name, name).split(",")[0].strip() for name in wnids]
    return [word if found.count(word) == 1 else f"{word} ({name})" for word, name in zip(found, wnids, strict=True)]


def _flat_validation(root: Path) -> Path | None:
    """The directory of validation images that lie there without directories of classes."""
    parts = _by_part(root, "")
    if "train" not in parts or not (place := parts.get("valid")) or not place.is_dir():
        return None
    entries = [entry for entry in os.scandir(place) if not entry.name.startswith(".")]
    flat = bool(entries) and all(entry.is_file() for entry in entries)
    return (
        place
        if flat
        and any(entry.name.lower().endswith(tuple(suffixes())) for entry in entries)
        and not (place / "metadata.csv").exists()
        else None
    )


def _imagenet(root: Path, flat: Path) -> Layout:
    """ImageNet: line n of the devkit's list is the number of the class of validation image n in the order of names."""
    lists = sorted([*root.glob(_TRUTH), *root.glob(f"*/{_TRUTH}"), *root.glob(f"*/data/{_TRUTH}")])
    if not lists:
        raise InputError(
            f"{flat}: its images lie there without directories of classes; expected {_TRUTH} and meta.mat of ImageNet's"
            f" devkit in {root} or in its devkit's directory, or a metadata.csv with file_name and label"
        )
    from scipy.io import loadmat

    meta = lists[0].with_name("meta.mat")
    try:
        synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
        wnids = {int(each["ILSVRC2012_ID"]): str(each["WNID"]) for each in synsets if not each["num_children"]}
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{meta}: cannot be read as the devkit's list of classes ({error})") from None
    classes = class_directories(root / _by_part(root, "")["train"].name)
    known = {name: number for number, name in enumerate(classes)}
    numbers = read_text(lists[0]).split()
    files = sorted(entry.name for entry in os.scandir(flat) if entry.name.lower().endswith(tuple(suffixes())))
    if len(numbers) != len(files):
        raise InputError(f"{lists[0]}: has {len(numbers)} labels, but {flat} has {len(files)} images")
    labels = _numbers(lists[0], (wnids.get(int(each), each) if each.isdecimal() else each for each in numbers), known)
    train, note = listed(root, "train", classes)
    parts = {"train": train, "test": Labelled([f"{flat.name}/{n}" for n in files], labels)}
    return Layout("ImageNet with its devkit", parts=parts, classes=classes, notes=[note])


def _numbers(path: Path, names: Iterable[str], known: Mapping[str, int]) -> list[int]:
    found = []
    for line, name in enumerate(names, start=1):
        if name not in known:
            raise InputError(f"{path}: line {line} names class {name!r}, which has no directory of training images")
        found.append(known[name])
    return found
