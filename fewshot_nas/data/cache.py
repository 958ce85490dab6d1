"""A cache of what is found out about images once: their pixels, and fingerprints of lists of files."""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages, FileImages, Images
from fewshot_nas.data.loader import in_parts, lost_workers_said
from fewshot_nas.data.pairs import PairImages
from fewshot_nas.data.pictures import READING
from fewshot_nas.data.transforms import CentreCrop
from fewshot_nas.records.files import locked, original_of, read_json, replacing, write_json

_STALE_S = 600
# A fingerprint, and for decoded images how they were made.
_OWN = re.compile(r"[0-9a-f]{16}_\w+\.(npy|pictures)|[0-9a-f]{32}\.json")


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
            _build(path, shape, images, transform, workers)
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


def _build(path: Path, shape: tuple[int, ...], images: Images, transform: CentreCrop, workers: int) -> None:
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
