"""Labelled images, in memory or as files, and fixed parts of them."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import WHITE, Colour
from fewshot_nas.data.pictures import FilePicture, Picture, Pixels


@dataclass(frozen=True, eq=False)
class Names:
    """Strings that lie one after the other in one buffer.

    Forked workers share the buffer. They would copy Python strings, because reading one changes its
    reference count.

    Attributes:
        text: all strings in UTF-8; file names that are not valid UTF-8 keep their bytes.
        ends: the end of each string in `text`, int64 [N].
    """

    text: bytes
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """The buffer that holds these names."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        return cls(b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        start = int(self.ends[index - 1]) if index else 0
        return self.text[start : int(self.ends[index])].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def select(self, indices: Iterable[int]) -> "Names":
        return Names.of(self[index] for index in indices)


S = TypeVar("S", bound="Images")

LOOKED_AT = 64  # files of a list that are looked into, to notice that files were replaced
_BEGINNING = 1 << 18  # bytes of each


class Images(Protocol):
    """A sequence of labelled images."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 [N]."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; changes whenever the images, their labels or their order change."""

    def image(self, index: int) -> Tensor:
        """One decoded image, uint8 [C, H, W]."""

    def pixels(self, indices: Tensor) -> Pixels:
        """Several images, in the order of `indices` (int64 [N])."""

    def select(self: S, indices: Tensor) -> S:
        """The images at `indices` (int64 [N]), in their order."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images of one size, held in memory: uint8 [N, C, H, W], with labels int64 [N]."""

    array: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        found, labels = (self.array.dtype, self.array.dim()), (self.labels.dtype, self.labels.shape)
        if (found, labels) != ((torch.uint8, 4), (torch.int64, self.array.shape[:1])):
            shapes = " and ".join(f"{each.dtype} {list(each.shape)}" for each in (self.array, self.labels))
            raise InputError(f"images and labels are {shapes}, expected torch.uint8 [N, C, H, W] and torch.int64 [N]")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(tuple(self.array.shape)).encode())
        for part in (self.array, self.labels):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def image(self, index: int) -> Tensor:
        """One image, uint8 [C, H, W]."""
        return self.array[index]

    def pixels(self, indices: Tensor) -> Tensor:
        """Several images, uint8 [N, C, H, W]."""
        return self.array[indices]

    def select(self, indices: Tensor) -> "ArrayImages":
        return ArrayImages(self.array[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files. An image is decoded when it is needed, always to RGB.

    Attributes:
        names: a path for each image, relative to `root` or absolute.
        labels: int64 [N].
        part_of: the images from which these were selected, and the indices of these among them.
        background: of transparent pixels.
    """

    root: Path
    names: Names
    labels: Tensor
    part_of: "tuple[FileImages, Tensor] | None" = None
    background: Colour = WHITE

    def __post_init__(self) -> None:
        assert (self.labels.dtype, self.labels.shape) == (torch.int64, (len(self.names),))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names, labels, file sizes and some contents. It does not change if the images move to another root.

        The fingerprint of a selection is computed from that of the whole list, so that no file is
        looked at twice.

        Raises:
            InputError: a file is missing.
        """
        digest = hashlib.sha256(b"" if self.background == WHITE else repr(self.background).encode())
        if self.part_of:
            parent, indices = self.part_of
            digest.update(parent.fingerprint.encode() + indices.numpy().tobytes())
            return digest.hexdigest()[:16]
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            digest.update(b"%s\0%d\0%d\n" % (os.fsencode(name), label, self.file_size(name)))
        digest.update(self.glimpse())
        return digest.hexdigest()[:16]

    def looked_at(self) -> list[str]:
        """The names of 64 files, evenly spaced in the list."""
        return [self.names[place] for place in spread(len(self))]

    def glimpse(self) -> bytes:
        """Hash of the beginnings of the files that are looked at: images of one format may all have the same size."""
        digest = hashlib.sha256()
        for name in self.looked_at():
            with suppress(OSError), (self.root / name).open("rb") as stream:  # named when the image is read
                digest.update(hashlib.sha256(stream.read(_BEGINNING)).digest())
        return digest.digest()

    def on(self, background: Colour) -> "FileImages":
        """The same files, where transparent pixels have this colour."""
        part_of = self.part_of and (self.part_of[0].on(background), self.part_of[1])
        return replace(self, background=background, part_of=part_of)

    def described(self) -> dict[str, Any]:
        """How files become pixels, as a deployment card says it."""
        return {"orientation": "as EXIF says", "background": list(self.background), "bits": "the upper 8 of a channel"}

    def take_fingerprint(self, fingerprint: str) -> None:
        """Use a fingerprint that was computed earlier or by another process, instead of asking for all file sizes."""
        self.__dict__["fingerprint"] = fingerprint

    def image(self, index: int) -> Tensor:
        """One image, uint8 [3, H, W].

        Raises:
            InputError: the file is missing or is not an image of 8 or 16 bits a channel; names its path.
        """
        return self.picture(index).read()

    def picture(self, index: int) -> FilePicture:
        return FilePicture(self.root / self.names[index], self.background)

    def pixels(self, indices: Tensor) -> list[Picture]:
        """Several images, each of its own size. They are decoded when they are read."""
        return [self.picture(index) for index in indices.tolist()]

    def select(self, indices: Tensor) -> "FileImages":
        names = self.names.select(indices.tolist())
        return FileImages(self.root, names, self.labels[indices], (self, indices), self.background)

    def file_size(self, name: str) -> int:
        """Size of a file in bytes.

        Raises:
            InputError: it is missing.
        """
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise InputError(f"{self.root / name}: cannot be read ({error.strerror})") from None


def spread(count: int, most: int = LOOKED_AT) -> list[int]:
    """At most so many of the places 0..count-1, evenly spaced, the first and the last among them."""
    places: list[int] = torch.linspace(0, count - 1, min(most, count)).long().tolist()
    return places


def balanced_indices(labels: Tensor, count: int) -> Tensor:
    """A fixed random choice in which the classes are as equally frequent as possible.

    A smaller choice is always a part of a larger one.

    Returns:
        `count` indices, int64, ascending.
    """
    keys = random_keys("balanced", torch.arange(len(labels))).numpy()
    by_class = np.lexsort((keys, labels.numpy()))
    grouped = labels.numpy()[by_class]
    turn = np.empty_like(by_class)  # the rank of an image's key within its class
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    chosen = np.lexsort((keys, turn))[:count]
    return torch.from_numpy(np.sort(chosen))


def repeated_indices(labels: Tensor, share: float) -> Tensor:
    """All indices, those of rare classes several times.

    A class with 1 / n of the largest one's images gets n ** `share` times as many.

    >>> labels = torch.tensor([0, 0, 0, 0, 1])
    >>> repeated_indices(labels, 1.0).tolist(), repeated_indices(labels, 0.5).tolist()
    ([0, 1, 2, 3, 4, 4, 4, 4], [0, 1, 2, 3, 4, 4])

    Args:
        labels: int64 [N].
        share: 0 repeats none, 1 makes all classes equally frequent.

    Returns:
        int64 [M], ascending.
    """
    counts = labels.bincount()
    wanted = (counts * (counts.max() / counts.clamp(min=1)) ** share).round().long()
    order = random_order("repeated", len(labels))  # which images are repeated once more than others
    turn = torch.empty_like(labels)
    for label in counts.nonzero().flatten().tolist():
        own = order[labels[order] == label]
        turn[own] = torch.arange(len(own))
    times = wanted[labels] // counts[labels] + (turn < (wanted % counts.clamp(min=1))[labels])
    return torch.arange(len(labels)).repeat_interleave(times)


def split_off(images: S, count: int) -> tuple[S, S]:
    """Split images into two: a fixed choice of `count` images with balanced classes comes second, the rest first."""
    chosen = balanced_indices(images.labels, count)
    rest = torch.ones(len(images), dtype=torch.bool).index_fill(0, chosen, False).nonzero().squeeze(1)
    return images.select(rest), images.select(chosen)


def calibration_subset(images: Images, count: int, seed: int) -> Images:
    """At most `count` training images for batch norm calibration; the same seed gives the same images on every rank.

    Their order is random, so that each batch mixes the classes.
    """
    return images.select(random_order(f"calibration/{seed}", len(images))[:count])


def random_keys(stream: str, indices: Tensor) -> Tensor:
    """A random number in 0..2**63 - 1 for each index, which depends on `stream` and the index only.

    The generator is SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). It hashes
    a counter, so no process, worker or resumed run needs to know what another one has drawn.

    Args:
        stream: name of the sequence; sequences of different names are independent.
        indices: int64 [N], not negative.
    """
    start = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    keys = indices.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys = keys ^ (keys >> np.uint64(31))
    return torch.from_numpy((keys >> np.uint64(1)).astype(np.int64))


def uniform(stream: str, keys: Tensor) -> Tensor:
    """A random number in [0, 1) for each key, float64 [N]; the numbers of different streams are independent."""
    return random_keys(stream, keys).double() / 2**63


def random_order(stream: str, count: int) -> Tensor:
    """The indices 0..count-1 in a random order, int64 [count]."""
    return random_keys(stream, torch.arange(count)).argsort(stable=True)
