"""Labelled images, in memory or as files, and fixed parts of them."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from fewshot_nas.data.keys import random_keys, random_order
from fewshot_nas.errors import InputError

Pixels = Tensor | list[Tensor]  # uint8 [N, C, H, W], or N images [C, H, W] of their own sizes


class Images(Protocol):
    """A sequence of labelled images."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Tensor:
        """Class indices, int64 [N]."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; another one if the images, their labels or their order are others."""

    def image(self, index: int) -> Tensor:
        """One decoded image, uint8 [C, H, W]."""

    def pixels(self, indices: Tensor) -> Pixels:
        """Several decoded images, in the order of `indices` (int64 [N])."""

    def select(self, indices: Tensor) -> "Images":
        """The images at `indices` (int64 [N]), in their order."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images of one size, held in memory: uint8 [N, C, H, W], with labels int64 [N]."""

    array: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert (self.array.dtype, self.array.dim()) == (torch.uint8, 4)
        assert (self.labels.dtype, self.labels.shape) == (torch.int64, self.array.shape[:1])

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the shape and of all bytes."""
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
        """A copy of the images at `indices`."""
        return ArrayImages(self.array[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files, decoded when asked for, always to RGB.

    Attributes:
        names: a path for each image, relative to `root` or absolute.
        labels: int64 [N].
    """

    root: Path
    names: tuple[str, ...]
    labels: Tensor

    def __post_init__(self) -> None:
        assert (self.labels.dtype, self.labels.shape) == (torch.int64, (len(self.names),))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names, labels and file sizes; the same images below another root keep theirs.

        Raises:
            InputError: a file is missing.
        """
        digest = hashlib.sha256()
        for name, label in zip(self.names, self.labels.tolist(), strict=True):
            digest.update(b"%s\0%d\0%d\n" % (os.fsencode(name), label, self._size(name)))
        return digest.hexdigest()[:16]

    def image(self, index: int) -> Tensor:
        """One image, uint8 [3, H, W].

        Raises:
            InputError: the file is missing or is not an image of 8 bits a channel; names its path.
        """
        path = self.root / self.names[index]
        try:
            with Image.open(path) as image:
                mode, pixels = image.mode, pil_to_tensor(image.convert("RGB"))
        except Exception as error:  # a decoder may raise almost anything, and it is always about this file
            raise InputError(f"{path}: cannot be decoded as an image ({' '.join(str(error).split())})") from None
        if mode[0] in "IF":  # integers and floats, which the conversion would have clipped
            raise InputError(f"{path}: has the pixel format {mode}, expected 8 bits a channel")
        return cast(Tensor, pixels)

    def pixels(self, indices: Tensor) -> list[Tensor]:
        """Several images, each uint8 [3, H, W] of its own size."""
        return [self.image(index) for index in indices.tolist()]

    def select(self, indices: Tensor) -> "FileImages":
        """The files at `indices`."""
        return FileImages(self.root, tuple(self.names[index] for index in indices.tolist()), self.labels[indices])

    def _size(self, name: str) -> int:
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise InputError(f"{self.root / name}: cannot be read ({error.strerror})") from None


def balanced_indices(labels: Tensor, count: int) -> Tensor:
    """A fixed random choice with the classes as equally frequent as they can be.

    The choice of fewer is a part of the choice of more.

    Returns:
        `count` indices, int64, ascending.
    """
    keys = random_keys("balanced", torch.arange(len(labels))).numpy()
    by_class = np.lexsort((keys, labels.numpy()))
    grouped = labels.numpy()[by_class]
    turn = np.empty_like(by_class)  # an image's place in its own class, by its key
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    chosen = np.lexsort((keys, turn))[:count]
    return torch.from_numpy(np.sort(chosen))


def calibration_subset(images: Images, count: int, seed: int) -> Images:
    """Training images for BN calibration: the same for the same seed, on every rank.

    They keep their random order, so that each batch of them mixes the classes; `count` at most.
    """
    return images.select(random_order(f"calibration/{seed}", len(images))[:count])
