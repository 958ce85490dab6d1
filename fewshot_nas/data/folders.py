"""The image files of a data set, by lists or by directories of classes: which are read, and what is said about it."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import FileImages, Names
from fewshot_nas.data.opening import files_below, is_hidden, is_image
from fewshot_nas.records.files import read_text

CLASSES = "classes.txt"  # beside the lists: a name a line, of the classes 0, 1, 2, ...
LISTS = {"train": "train.txt", "valid": "valid_part2500.txt", "test": "valid.txt"}  # of the competition
PARTS = {"train": "train.txt", "valid": "val.txt", "test": "test.txt"}
_LINE = re.compile(r"(.*[^\s,])\s*[,\s]\s*(\d{1,9})")
_HIDDEN, _BESIDE = "hidden", "beside the class directories"


def read_list(root: Path, path: Path) -> FileImages:
    """The images of a list, a line each: a path and a label.

    Raises:
        InputError: the file is missing, has no images, or a line is something else.
    """
    try:
        # Names that are no UTF-8 keep their bytes, as the file system gives them.
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        if "\0" in text:
            raise OSError("it has zero bytes")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read as text ({error})"
        expected = f"expected {', '.join(LISTS.values())} in the data root, each line a path and a label"
        raise InputError(f"{path.absolute()}: {reason}; {expected}") from None
    names, labels = [], []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        match = _LINE.fullmatch(line)
        if match:
            names.append(match[1])
            labels.append(int(match[2]))
        elif line:
            expected = "a path and a label (0, 1, 2, ...) separated by a comma or white space"
            raise InputError(f"{path}: line {number} is {line!r}, expected {expected}")
    return images_of(root, names, labels, path)


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the classes of lists; empty if the file is not there.

    Raises:
        InputError: a line is empty, or two are the same.
    """
    if not path.exists():
        return ()
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name or name in seen:
            reason = f"repeats {name}, which line {seen[name]} has" if name else "is empty"
            raise InputError(f"{path}: line {number} {reason}; expected the name of class {number - 1}")
        seen[name] = number
    return tuple(names)


def images_of(root: Path, names: list[str], labels: list[int], origin: Path) -> FileImages:
    """Image files by their names and labels, which cannot be none."""
    if not names:
        raise InputError(f"{origin}: no images")
    return FileImages(root, Names.of(names), torch.tensor(labels))


class Listed(NamedTuple):
    """The images of one part of a data set, class by class.

    Attributes:
        part: its directory's name.
        names: relative to the root.
        note: a sentence about the files that were found, read and left out.
    """

    part: str
    names: list[str]
    labels: list[int]
    note: str


def class_directories(directory: Path) -> list[str]:
    """The names of the classes.

    Raises:
        InputError: there is no such directory.
    """
    if not directory.is_dir():
        expected = "train/<class>/ and val/<class>/ in data.root"
        raise InputError(f"{directory.absolute()}: no such directory; expected {expected}")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not is_hidden(entry.name))


def listed(root: Path, part: str, classes: Sequence[str]) -> Listed:
    """The images in `root/part/<class>` and the directories below, in the order of their names.

    Raises:
        InputError: a class of the training part has no image, or a directory lies in itself.
    """
    names: list[str] = []
    labels: list[int] = []
    left = Counter(_HIDDEN if is_hidden(each.name) else _BESIDE for each in os.scandir(root / part) if each.is_file())
    for label, name in enumerate(classes):
        folder, others = root / part / name, Counter[str]()
        images = []
        for file in files_below(folder) if folder.is_dir() else ():
            if is_image(file):
                images.append(str(file.relative_to(root)))
            else:
                others[_HIDDEN if is_hidden(file.name) else file.suffix.lower()] += 1
        if part == "train" and not images:
            found = f"only {_shown(others)}" if others else "no files"
            raise InputError(f"{folder}: no images that can be read (the directory has {found})")
        names += images
        labels += [label] * len(images)
        left += others
    read = Counter(PurePath(name).suffix.lower() for name in names)
    note = f"{root / part}: {len(names) + left.total()} files found, {len(names)} read ({_shown(read)})"
    return Listed(part, names, labels, note + (f", {left.total()} left out ({_shown(left)})" if left else ""))


def _shown(counts: Counter[str]) -> str:
    """Such as `12 .png, 3 .jpg`, the most frequent first."""
    shown = [f"{count} {kind or 'without ending'}" for kind, count in counts.most_common(6)]
    rest = counts.total() - sum(count for _, count in counts.most_common(6))
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])
