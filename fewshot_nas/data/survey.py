"""What a look at every image of a data set finds, once: copies in two parts, two labels for one image, odd files.

Images are the same if their pixels are, whatever their files are called and however they were packed. Where decoding
all would take minutes, files are compared by their bytes instead, those first whose size a ranking image has too.
"""

import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.cache import building
from fewshot_nas.data.images import LOOKED_AT, FileImages, Images, random_keys, spread
from fewshot_nas.data.loader import AT_ONCE, in_parts
from fewshot_nas.data.pictures import READING, FilePicture, Pixels, whole
from fewshot_nas.data.sources import ImageData
from fewshot_nas.records.files import read_json, write_json

MOST = 1_500_000_000  # pixels to decode, or bytes to read: about half a minute
_OPENING = 50_000  # what opening a file costs, in the same unit
_FORM = 2  # of the file, whose name depends on it
_FEWEST = 20  # images by which a part is refused, if not all are compared
_SAID = {
    "transparent": "have transparent pixels ({}), which are shown on the colour data.background",
    "16 bits": "have 16 bits a channel ({}), of which the upper 8 count",
    "frames": "have several frames or pages ({}), of which the first counts",
}

Digests = npt.NDArray[np.uint64]  # of images, 0 for those that were not compared


class _Part(NamedTuple):
    """A part of a data set, as messages call it."""

    name: str
    images: Images
    digests: Digests


def surveyed(
    data: ImageData, directory: Path, *, workers: int = 0, most: int = MOST
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences about images that make accuracies mean less, and about what reading changes.

    They come from a file in `directory` if the images were looked at before.

    Args:
        most: pixels to decode; if there are more, files are compared by this number of bytes.

    Raises:
        InputError: all images to rank or to test on are training images, or an image cannot be decoded.
    """
    about = [_FORM, READING, *(part.fingerprint for part in (data.train, data.valid, data.test)), *data.class_names]
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:32]
    path = directory / "surveys" / f"{name}.json"
    with building(path) as absent:
        if absent:
            write_json(path, _look(data, workers, most))
    kept = read_json(path)
    if not (isinstance(kept, dict) and {"said", "odd", "refused"} <= kept.keys()):
        raise InputError(f"{path}: is not what was written there; delete the file, and the images are compared again")
    if kept["refused"]:
        raise InputError(str(kept["refused"]))
    return tuple(map(str, kept["said"])), tuple(map(str, kept["odd"]))


def _look(data: ImageData, workers: int, most: int) -> dict[str, Any]:
    named = {"training": data.train, "ranking": data.valid}
    named |= {} if data.test is data.valid else {"test": data.test}
    digests, odd = _digests(list(named.values()), workers, most)
    parts = [_Part(*part) for part in zip(named, named.values(), digests, strict=True)]
    refused, said = _shared(parts)
    return {"refused": refused, "said": [*said, *_two_labels(parts, data.class_names)], "odd": odd}


def _digests(images: Sequence[Images], workers: int, most: int) -> tuple[list[Digests], list[str]]:
    """Digests of the images of each part, and sentences about odd files."""
    files = [part for part in images if isinstance(part, FileImages)]
    if len(files) == len(images) and _cost(files) > most:
        some = [part.picture(place) for part in files for place in spread(len(part), LOOKED_AT // len(files))]
        return _by_bytes(files, most), _odd(len(some), ((picture.path, picture.oddities()) for picture in some))
    digests, oddities = [], list[tuple[Path, list[str]]]()
    for part in images:
        looked = in_parts(part, _looked, workers=workers)
        found = list(tqdm(looked, "comparing images", -(-len(part) // AT_ONCE), leave=False, disable=None))
        digests.append(np.concatenate([several for several, _ in found]))
        oddities += [each for _, several in found for each in several]
    return digests, _odd(sum(map(len, images)), oddities)


def _looked(pixels: Pixels) -> tuple[Digests, list[tuple[Path, list[str]]]]:
    """Digests of some images' pixels, and paths of odd files with what is odd."""
    digests, odd = [], []
    for image in pixels:
        if isinstance(image, FilePicture) and (found := image.oddities()):
            odd.append((image.path, found))
        read = whole(image)
        digests.append(_digest(repr(tuple(read.shape)).encode(), read.contiguous().numpy().data))
    return np.array(digests, np.uint64), odd


def _by_bytes(parts: Sequence[FileImages], most: int) -> list[Digests]:
    """Digests of files whose size another file has too; a size that is the only one is as good as a digest.

    If these have too many bytes, files are chosen by size, and then by name, so that copies are chosen together.
    """
    sizes = [np.array([part.file_size(name) for name in part.names]) for part in parts]
    size = np.concatenate(sizes)
    _, inverse, counts = np.unique(size, return_inverse=True, return_counts=True)
    alone = counts[inverse] == 1
    names = np.array([zlib.crc32(os.fsencode(PurePath(name).name)) for part in parts for name in part.names])
    order = np.lexsort((names, random_keys("survey", torch.from_numpy(size)).numpy(), ~np.isin(size, sizes[1]), alone))
    digests = np.where(alone, size + 1, 0).astype(np.uint64)
    for index in order[(np.cumsum((size + _OPENING)[order]) <= most) & ~alone[order]].tolist():
        number, place = _located(parts, index)
        digests[index] = _digest(parts[number].picture(place).content)
    return np.split(digests, np.cumsum([len(part) for part in parts])[:-1])


def _located(parts: Sequence[Images], index: int) -> tuple[int, int]:
    """The part, and the place in it, of an image of all parts together."""
    starts = np.cumsum([0, *map(len, parts)])
    number = int(np.searchsorted(starts, index, "right")) - 1
    return number, index - int(starts[number])


def _digest(*content: Any) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for each in content:
        digest.update(each)
    return int.from_bytes(digest.digest(), "little") or 1


def _cost(parts: Sequence[FileImages]) -> float:
    """The number of pixels of all files, and what opening them costs; by the sizes of some."""
    cost = 0.0
    for part in parts:
        sides = [part.picture(place).size for place in spread(len(part))]
        cost += len(part) * (_OPENING + sum(height * width for height, width in sides) / len(sides))
    return cost


def _shared(parts: Sequence[_Part]) -> tuple[str | None, list[str]]:
    """A sentence that refuses the data set, if it must be, and sentences about images that two parts share."""
    train, valid = parts[:2]
    said: list[str] = []
    for part in parts[1:]:
        twice = _copies(part, train)
        beside = len(np.setdiff1d(part.digests[twice], valid.digests)) if part is not valid else len(twice)
        if len(twice) == np.count_nonzero(part.digests) >= min(len(part.images), _FEWEST):
            return (
                f"all {len(twice)} {part.name} images{_that_were(part)} are training images too"
                f" ({_pairs(part, train, twice)}), so accuracies on them would say nothing; give images that are not"
                " trained on"
            ), said
        if beside:
            said.append(
                f"{_counted(part, len(twice), 'training')} ({_pairs(part, train, twice)}), so accuracies"
                " on them are too high; take them out of one of the parts"
            )
    for test in parts[2:]:
        # What has one name in both is meant, as in the competition's lists.
        meant = set(_names(valid)) & set(_names(test))
        twice = np.array([place for place in _copies(test, valid) if _name(test, place) not in meant], np.int64)
        if len(twice):
            said.append(
                f"{_counted(test, len(twice), 'ranking')} ({_pairs(test, valid, twice)}), so test accuracies"
                " are those of the choice itself"
            )
    return None, said


def _two_labels(parts: Sequence[_Part], classes: Sequence[str]) -> Iterator[str]:
    """A sentence about images that have two labels, if there are some."""
    digests = np.concatenate([part.digests for part in parts])
    labels = np.concatenate([part.images.labels.numpy() for part in parts])
    order = np.lexsort((labels, digests))
    same = (np.diff(digests[order]) == 0) & (np.diff(labels[order]) != 0) & (digests[order][1:] != 0)
    first = np.flatnonzero(same)
    number = len(np.unique(digests[order][first]))
    if not number:
        return
    images = [part.images for part in parts]

    def shown(index: int) -> str:
        number, place = _located(images, index)
        return f"{_name(parts[number], place)} is {classes[labels[index]]}"

    some = "; ".join(f"{shown(order[place])}, {shown(order[place + 1])}" for place in first[:2])
    yield f"{number} image{'s have' if number > 1 else ' has'} two labels (such as {some}); which one is right?"


def _odd(count: int, found: Any) -> list[str]:
    """Sentences about the odd ones of so many files."""
    examples: dict[str, Path] = {}
    number = Counter[str]()
    for path, kinds in found:
        number.update(kinds)
        examples |= {kind: path for kind in kinds if kind not in examples}
    return [
        f"{number[kind]} of {count} images {text.format(f'such as {examples[kind]}')}"
        for kind, text in _SAID.items()
        if kind in number
    ]


def _copies(part: _Part, of: _Part) -> npt.NDArray[np.int64]:
    """The places of the images that the other part has too."""
    return np.flatnonzero(np.isin(part.digests, of.digests) & (part.digests != 0))


def _counted(part: _Part, number: int, other: str) -> str:
    what = f"are {other} images" if number > 1 else f"is a {other} image"
    return f"{number} of the {np.count_nonzero(part.digests)} {part.name} images{_that_were(part)} {what} too"


def _that_were(part: _Part) -> str:
    return "" if part.digests.all() else " that were compared"


def _pairs(part: _Part, other: _Part, places: npt.NDArray[np.int64]) -> str:
    pairs = [
        (_name(part, place), _name(other, int(np.argmax(other.digests == part.digests[place])))) for place in places[:2]
    ]
    return "such as " + " and ".join(one if one == two else f"{one}, which is {two}" for one, two in pairs)


def _names(part: _Part) -> Iterable[str]:
    return part.images.names if isinstance(part.images, FileImages) else ()


def _name(part: _Part, place: int) -> str:
    return part.images.names[place] if isinstance(part.images, FileImages) else f"{part.name} image {place}"
