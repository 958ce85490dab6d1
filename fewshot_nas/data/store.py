"""Training photographs that are decoded once and stored smaller, for machines with a slow CPU and a large disk."""

import hashlib
import struct
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.cache import building
from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import in_parts, lost_workers_said
from fewshot_nas.data.pictures import READING, Picture, Pixels, shrunk, size_of, whole
from fewshot_nas.records.files import replacing

_END = struct.Struct("<8sq")  # the end of a file: _MAGIC and the number of images
_MAGIC = b"pictures"


@dataclass(frozen=True)
class StoredPicture:
    """One image in the file: RGB bytes, row by row."""

    path: Path
    start: int
    size: tuple[int, int]

    def read(self, shrink: int = 1) -> Tensor:
        """The pixels, mapped from the file; no other part of the file is read."""
        # Copy on write: torch needs writable memory, and the file must stay as it is.
        array = np.memmap(self.path, np.uint8, "c", self.start, (*self.size, 3))
        height, width = self.size
        return shrunk(torch.from_numpy(array).permute(2, 0, 1), (-(-height // shrink), -(-width // shrink)))


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images in one file, which holds all pixels, then heights and widths, then the number of images.

    Attributes:
        starts: the position of each image in the file, int64 [N].
        sizes: height and width, int32 [N, 2].
    """

    path: Path
    labels: Tensor
    fingerprint: str
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Tensor:
        return self._picture(index).read()

    def pixels(self, indices: Tensor) -> list[Picture]:
        """Several images, each of its own size."""
        return [self._picture(index) for index in indices.tolist()]

    def select(self, indices: Tensor) -> "StoredImages":
        chosen = indices.numpy()
        name = hashlib.sha256(self.fingerprint.encode() + chosen.tobytes()).hexdigest()[:16]
        return StoredImages(self.path, self.labels[indices], name, self.starts[chosen], self.sizes[chosen])

    def _picture(self, index: int) -> StoredPicture:
        height, width = self.sizes[index].tolist()
        return StoredPicture(self.path, int(self.starts[index]), (height, width))


def stored(images: Images, side: int, directory: Path, *, workers: int = 0) -> StoredImages:
    """The images, shrunk to a shorter side of at most `side` pixels, from one file in `directory`.

    The file's name contains the images' fingerprint and the side. One process builds the file, the
    others wait.

    Raises:
        InputError: an image cannot be decoded, or the file is damaged.
    """
    path = directory / f"{images.fingerprint}_r{READING}_side{side}.pictures"
    with building(path) as absent:
        if absent:
            _build(path, images, side, workers)
    sizes = _read_sizes(path, len(images))
    lengths = 3 * sizes.prod(1, dtype=np.int64)
    return StoredImages(path, images.labels, f"{images.fingerprint}/{side}", np.cumsum(lengths) - lengths, sizes)


def _shrunk_part(side: int, pixels: Pixels) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Some images, shrunk, as one array of bytes, and their sizes."""
    small = [_small(picture, side) for picture in pixels]
    sizes = np.array([image.shape[-2:] for image in small], np.int32)
    return torch.cat([image.permute(1, 2, 0).flatten() for image in small]).numpy(), sizes


def _small(image: Tensor | Picture, side: int) -> Tensor:
    shorter = min(size_of(image))
    pixels = whole(image) if isinstance(image, Tensor) else image.read(max(1, shorter // side))
    if min(pixels.shape[-2:]) <= side:
        return pixels
    return cast(Tensor, functional.resize(pixels, [side], antialias=True))


def _build(path: Path, images: Images, side: int, workers: int) -> None:
    with replacing(path) as stream, lost_workers_said():
        sizes = []
        for pixels, part in in_parts(images, partial(_shrunk_part, side), workers=workers):
            stream.write(pixels.data)
            sizes.append(part)
        stream.write(np.concatenate(sizes).data)
        stream.write(_END.pack(_MAGIC, len(images)))


def _read_sizes(path: Path, count: int) -> npt.NDArray[np.int32]:
    length = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, length - _END.size - 8 * count))
        table, end = stream.read(8 * count), stream.read()
    sizes = np.frombuffer(table, np.int32).reshape(-1, 2) if len(table) == 8 * count else np.empty((0, 2), np.int32)
    pixels = 3 * int(sizes.prod(1, dtype=np.int64).sum())
    if end != _END.pack(_MAGIC, count) or length != pixels + 8 * count + _END.size:
        raise InputError(f"{path}: the stored images are damaged; delete the file, and it will be built again")
    return sizes
