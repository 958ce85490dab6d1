"""A cache of what is found out about images once: their pixels, and fingerprints of lists of files.

Evaluations take images of one size, each decoded and cut once. Training takes photographs as they are, or, for machines
with a slow CPU and a large disk, decoded once and stored smaller.
"""

import hashlib
import os
import re
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages, FileImages, Images
from fewshot_nas.data.known import PairImages
from fewshot_nas.data.loader import in_parts, lost_workers_said
from fewshot_nas.data.pictures import READING, Picture, Pixels, shrunk, size_of, whole
from fewshot_nas.data.transforms import CentreCrop
from fewshot_nas.records.files import locked, original_of, read_json, replacing, write_json

_STALE_S = 600
# A fingerprint, and for decoded images how they were made.
_OWN = re.compile(r"[0-9a-f]{16}_\w+\.(npy|pictures)|[0-9a-f]{32}\.json")
_END = struct.Struct("<8sq")  # the end of a file: _MAGIC and the number of images
_MAGIC = b"pictures"


def decoded(images: Images, transform: CentreCrop, directory: Path, *, workers: int = 0) -> Tensor:
    """All images after `transform`, uint8 [N, C, R, R].

    Images from files are mapped from one .npy file in `directory`; images in memory need no file.
    The file's name contains the images' fingerprint and the transform, so it is never out of date.
    One process builds the file, the others wait.

    Raises:
        InputError: an image cannot be decoded, or the cache file is damaged.
    """
    if isinstance(images, ArrayImages):
        return transform(images.array)
    if isinstance(images, PairImages):
        return transform(images.pixels(torch.arange(len(images))))
    way = "" if transform.interpolation == InterpolationMode.BILINEAR else f"_{transform.interpolation.value}"
    path = directory / f"{images.fingerprint}_r{READING}_{transform.shorter_side}_{transform.resolution}{way}.npy"
    shape = (len(images), 3, transform.resolution, transform.resolution)
    with building(path) as absent:
        if absent:
            _build_decoded(path, shape, images, transform, workers)
    return _mapped(path, shape)


@contextmanager
def building(path: Path) -> Iterator[bool]:
    """Whether the caller has to build a file of the cache. Others that need the file wait until the block ends.

    Before a file is built, what killed builders have left in its directory is removed.
    """
    if path.exists():
        yield False
        return
    with locked(path.parent / ".lock", wait=True):
        absent = not path.exists()
        if absent:
            _remove_leftovers(path.parent)
        yield absent


def _remove_leftovers(directory: Path) -> None:
    """Remove temporary files of the cache's own, under its lock.

    Those of the last ten minutes stay, because not every network file system supports locks.
    """
    for path in directory.iterdir():
        if _OWN.fullmatch(original_of(path.name) or ""):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()


def _build_decoded(path: Path, shape: tuple[int, ...], images: Images, transform: CentreCrop, workers: int) -> None:
    with replacing(path) as stream, lost_workers_said():
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for batch in in_parts(images, transform, workers=workers):
            stream.write(batch.contiguous().numpy().data)


def _mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        # Copy on write: torch needs writable memory, and the file must stay as it is.
        array = np.load(path, mmap_mode="c")
    except (ValueError, EOFError):
        array = np.empty(0)
    if array.shape != shape or array.dtype != np.uint8:
        raise InputError(f"{path}: the cached images are damaged; delete the file, and it will be built again")
    return torch.from_numpy(array)


def kept_fingerprint(images: FileImages, directory: Path) -> str:
    """`images.fingerprint`, stored in `directory` under a digest of root, background, list, labels and the
    sizes and beginnings of 64 files.

    The fingerprint is computed again if the list or one of these files changes. The 64
    files are spread evenly over the list. If other files are replaced, delete the directory
    `fingerprints`, because the change is not noticed. One process computes the fingerprint, the
    others wait.

    Raises:
        InputError: a file is missing.
    """
    path = directory / "fingerprints" / f"{_digest(images)}.json"
    with building(path) as absent:
        if absent:
            facts = {"root": str(images.root.resolve()), "images": len(images), "fingerprint": images.fingerprint}
            write_json(path, facts)
    kept = read_json(path)
    if isinstance(kept, dict) and isinstance(kept.get("fingerprint"), str):
        return str(kept["fingerprint"])
    raise InputError(f"{path}: has no fingerprint; delete the file, and the fingerprint will be computed again")


def _digest(images: FileImages) -> str:
    digest = hashlib.sha256(os.fsencode(images.root.resolve()) + repr(images.background).encode())
    for part in (images.names.text, images.names.ends.tobytes(), images.labels.numpy().tobytes()):
        digest.update(b"\0%d\0" % len(part) + part)
    for name in images.looked_at():
        digest.update(b"%d\n" % images.file_size(name))
    digest.update(images.glimpse())
    return digest.hexdigest()[:32]


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
    path = stored_path(images, side, directory)
    with building(path) as absent:
        if absent:
            _build_stored(path, images, side, workers)
    sizes = _read_sizes(path, len(images))
    lengths = 3 * sizes.prod(1, dtype=np.int64)
    return StoredImages(path, images.labels, f"{images.fingerprint}/{side}", np.cumsum(lengths) - lengths, sizes)


def stored_path(images: Images, side: int, directory: Path) -> Path:
    """The file of `stored`, which may not be there yet."""
    return directory / f"{images.fingerprint}_r{READING}_side{side}.pictures"


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


def _build_stored(path: Path, images: Images, side: int, workers: int) -> None:
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
