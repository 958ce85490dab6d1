"""The image files of a data set, without torch: lists, directories of classes, and files as Pillow opens them.

Every file becomes RGB with 8 bits a channel: turned as its EXIF orientation says, transparent pixels on a background.
Grey becomes three equal channels, CMYK is converted without its colour profile, of 16 bits the upper 8 count, and of
several frames the first. Training, evaluation, `predict` and the card's program follow the same rules.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_text

CLASSES = "classes.txt"  # beside the lists: a name a line, of the classes 0, 1, 2, ...
LISTS = {"train": "train.txt", "valid": "valid_part2500.txt", "test": "valid.txt"}  # of the competition
PARTS = {"train": "train.txt", "valid": "val.txt", "test": "test.txt"}
_LINE = re.compile(r"(.*[^\s,])\s*[,\s]\s*(\d{1,9})")
_HIDDEN, _BESIDE = "hidden", "beside the class directories"
WHITE = (255, 255, 255)
Colour = tuple[int, ...]  # red, green and blue, 0..255
# Formats that Pillow recognises, but decodes with another program or not at all.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})


class Labelled(NamedTuple):
    """Files, by paths that are absolute or relative to the root, with the numbers of their classes."""

    names: list[str]
    labels: list[int]


def read_list(path: Path) -> Labelled:
    """The paths of a list and their labels, a line each.

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
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):  # names may have other separators
        match = _LINE.fullmatch(line)
        if match:
            names.append(match[1])
            labels.append(int(match[2]))
        elif line:
            expected = "a path and a label (0, 1, 2, ...) separated by a comma or white space"
            raise InputError(f"{path}: line {number} is {line!r}, expected {expected}")
    if not names:
        raise InputError(f"{path}: no images")
    return Labelled(names, labels)


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


def class_directories(directory: Path) -> list[str]:
    """The names of the classes.

    Raises:
        InputError: there is no such directory.
    """
    if not directory.is_dir():
        expected = "train/<class>/ and val/<class>/ in data.root"
        raise InputError(f"{directory.absolute()}: no such directory; expected {expected}")
    return sorted(entry.name for entry in os.scandir(directory) if entry.is_dir() and not is_hidden(entry.name))


def listed(root: Path, part: str, classes: Sequence[str]) -> tuple[Labelled, str]:
    """The images in `root/part/<class>` and the directories below, class by class, in the order of their names.

    A sentence says which files were found, read and left out.

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
    return Labelled(names, labels), note + (f", {left.total()} left out ({_shown(left)})" if left else "")


def _shown(counts: Counter[str]) -> str:
    """Such as `12 .png, 3 .jpg`, the most frequent first."""
    shown = [f"{count} {kind or 'without ending'}" for kind, count in counts.most_common(6)]
    rest = counts.total() - sum(count for _, count in counts.most_common(6))
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """The endings of the files that Pillow can read here, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, form in known if form in Image.OPEN and form not in _NOT_DECODED)


def is_image(path: Path) -> bool:
    """Whether a name is that of an image: not hidden, with an ending that Pillow can read."""
    return not is_hidden(path.name) and path.suffix.lower() in suffixes()


def is_hidden(name: str) -> bool:
    """Whether the system hides a name, such as `._1.png`, which macOS puts beside 1.png on other disks."""
    return name.startswith(".") or name == "__MACOSX"


def files_below(directory: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """All files in a directory and below, those of links too; of hidden directories only their names.

    Raises:
        InputError: a directory lies in itself.
    """
    there = directory.stat()
    identity = (there.st_dev, there.st_ino)
    if identity in above:
        raise InputError(f"{directory}: is a link to a directory that it lies in, so there is no end; remove the link")
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.is_dir() and not is_hidden(entry.name):
            yield from files_below(directory / entry.name, above | {identity})
        else:
            yield directory / entry.name


def opened(path: Path, background: Colour = WHITE) -> Image.Image:
    """The decoded image as RGB.

    Raises:
        InputError: the file is missing or is not an image of 8 or 16 bits a channel; names its path.
    """
    # As a stream: of a TIFF file that Pillow maps by its name, it forgets to turn the pixels.
    with about(path), path.open("rb") as stream, Image.open(stream) as image:
        return as_rgb(path, image, orientation(image), background)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied: Pillow turns TIFF files itself."""
    with suppress(Exception):  # broken EXIF data are none
        if image.format != "TIFF":
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def as_rgb(path: Path, image: Image.Image, orientation: int, background: Colour) -> Image.Image:
    """What Pillow has opened, turned and converted to RGB.

    Raises:
        InputError: its channels have neither 8 nor 16 bits; names its path.
    """
    if orientation != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode[0] in "IF":  # integers and floats, which a conversion to RGB would clip
        raise InputError(f"{path}: has the pixel format {image.mode}, expected 8 or 16 bits a channel")
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")


def centre(image: Image.Image, shorter_side: int, crop: int, interpolation: str) -> Image.Image:
    """Resize the shorter side and crop the centre, in pixels.

    >>> centre(Image.new("L", (90, 60)), 45, 40, "bilinear").size
    (40, 40)
    """
    width, height = (shorter_side * side // min(image.size) for side in image.size)
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    resized = image.resize((width, height), Image.Resampling[interpolation.upper()])
    return resized.crop((left, top, left + crop, top + crop))


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Let any error of a decoder become a sentence about this file."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError:  # names the object in memory
        raise InputError(f"{path}: cannot be decoded as an image (it has no format that Pillow knows)") from None
    except Exception as error:  # a decoder may raise almost anything, and the reason is always this file
        raise InputError(f"{path}: cannot be decoded as an image ({' '.join(str(error).split())})") from None
