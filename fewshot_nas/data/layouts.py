"""The layouts in which people bring images (docs/fit.md has a table): what lies under a directory, by part."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import CLASSES, LISTS, Labelled, class_directories, class_names, listed, read_list, suffixes
from fewshot_nas.data.known import CIFAR10, CIFAR100
from fewshot_nas.data.tables import ALL, ENDINGS, PART, only_table, read_tables
from fewshot_nas.records.files import read_text

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
    if root.is_file() and root.suffix.lower() in ENDINGS:
        return _table(root.parent, {ALL: root})
    if not root.is_dir():
        there = "is a file; if it is an archive, unpack it" if root.exists() else "no such directory"
        raise InputError(f"{root.absolute()}: {there}; expected a directory of images by classes, or a table of labels")
    if (known := _cifar(root)) is not None:
        return known
    if all((root / name).is_file() for name in LISTS.values()):
        meant = "accuracies on them are a little too high, because some of them are ranked on, too"
        return Layout("lists of the competition's names", "lists", notes=[f"{root / LISTS['test']}: {meant}"])
    if (root / "wnids.txt").is_file() and (root / "val" / "val_annotations.txt").is_file():
        return _tiny_imagenet(root)
    if (flat := _flat_validation(root)) is not None:
        return _imagenet(root, flat)
    if tables := _tables(root):
        return _table(root, tables)
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
    for name, part in PART.items():
        if f"{name}{own}" in there and (path := there[f"{name}{own}"] / below).exists():
            if part in found:
                raise InputError(f"{root}: both {found[part].name} and {path.name} are there; remove one of them")
            found[part] = path
    return found if "train" in found else {}


def _tables(root: Path) -> dict[str, Path]:
    """The tables of the parts, or the only one; none if there is none."""
    found = (_by_part(root, ending) for ending in (*ENDINGS, *(f"/metadata{ending}" for ending in ENDINGS)))
    return next(filter(None, found), None) or only_table(root)


def _table(root: Path, tables: Mapping[str, Path]) -> Layout:
    parts, classes, notes = read_tables(root, tables)
    return Layout("a table of files and labels", parts=parts, classes=classes, notes=notes)


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
    if ALL in places and all(name.lower() in PART for name in classes):
        raise InputError(
            f"{root}: has {', '.join(classes)}, but no train; expected <class>/, or train/<class>/ and more"
        )
    for part, place in places.items():
        there = class_directories(root / place)
        if part == "test" and (not there or (len(there) == 1 and there[0] not in classes)):
            notes.append(
                f"{root / place}: has no directories of classes, so its images have no labels and are left out"
            )
            continue
        if unknown := sorted(set(there) - set(classes)):
            where = f"{root / place / unknown[0]}: no such class in {root / first}"
            raise InputError(f"{where}; give it images there, or remove this directory")
        found[part], note = listed(root, place, classes)
        notes.append(note)
    return Layout("class folders", parts=found, classes=classes, notes=notes)


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
        and not any((place / f"metadata{ending}").exists() for ending in ENDINGS)
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
    place = _by_part(root, "")["train"].name
    classes = class_directories(root / place)
    known = {name: number for number, name in enumerate(classes)}
    numbers = read_text(lists[0]).split()
    files = sorted(entry.name for entry in os.scandir(flat) if entry.name.lower().endswith(tuple(suffixes())))
    if len(numbers) != len(files):
        raise InputError(f"{lists[0]}: has {len(numbers)} labels, but {flat} has {len(files)} images")
    labels = _numbers(lists[0], (wnids.get(int(each), each) if each.isdecimal() else each for each in numbers), known)
    train, note = listed(root, place, classes)
    parts = {"train": train, "test": Labelled([f"{flat.name}/{n}" for n in files], labels)}
    return Layout("ImageNet with its devkit", parts=parts, classes=classes, notes=[note])


def _numbers(path: Path, names: Iterable[str], known: Mapping[str, int]) -> list[int]:
    found = []
    for line, name in enumerate(names, start=1):
        if name not in known:
            raise InputError(f"{path}: line {line} names class {name!r}, which has no directory of training images")
        found.append(known[name])
    return found
