"""Photographs of different sizes. Each is decoded when its pixels are needed, and no larger than needed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from fewshot_nas.errors import InputError

try:  # gives the same bytes as Pillow in two thirds of the time: pip install 'fewshot-nas[jpeg]'
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None


class Picture(Protocol):
    """An image that may not be decoded yet."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, shrink: int = 1) -> Tensor:
        """The pixels, uint8 [3, H, W], where height and width may be up to `shrink` times smaller."""


Pixels = Tensor | list[Picture] | list[Tensor]  # uint8 [N, C, H, W], or N images of their own sizes


@dataclass(frozen=True)
class FilePicture:
    """An image file, which is read once and always decoded to RGB.

    Raises:
        InputError: the file is missing or is not an image of 8 bits a channel; names its path.
    """

    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, from the file's header."""
        width, height = self._opened.size
        return height, width

    def read(self, shrink: int = 1) -> Tensor:
        """The decoded pixels; a JPEG file is decoded no larger than needed."""
        mode = self._opened.mode
        with _about(self.path):
            pixels = _decoded(self._opened, self._content, shrink)
        if mode[0] in "IF":  # integers and floats, which a conversion to RGB would clip
            raise InputError(f"{self.path}: has the pixel format {mode}, expected 8 bits a channel")
        return pixels

    @cached_property
    def _content(self) -> bytes:
        with _about(self.path):
            return self.path.read_bytes()

    @cached_property
    def _opened(self) -> Image.Image:
        with _about(self.path):
            return Image.open(io.BytesIO(self._content))


def whole(image: Tensor | Picture) -> Tensor:
    """All pixels of an image, uint8 [C, H, W]."""
    return image if isinstance(image, Tensor) else image.read()


def size_of(image: Tensor | Picture) -> tuple[int, int]:
    """Height and width of an image in pixels."""
    return (image.shape[-2], image.shape[-1]) if isinstance(image, Tensor) else image.size


def reduced(image: Tensor | Picture, shrink: int) -> Tensor:
    """The pixels of an image, where height and width may be up to `shrink` times smaller."""
    return image if isinstance(image, Tensor) else image.read(shrink)


def shrunk(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Shrink pixels [C, H, W] to `size` (height and width), if that is at most half of theirs."""
    if pixels.shape[-2] < 2 * size[0] or pixels.shape[-1] < 2 * size[1]:
        return pixels
    return cast(Tensor, torchvision.transforms.v2.functional.resize(pixels, list(size), antialias=True))


def _decoded(image: Image.Image, content: bytes, shrink: int) -> Tensor:
    height, width = (-(-side // shrink) for side in (image.height, image.width))
    if shrink == 1 and decode_jpeg and (image.format, image.mode) == ("JPEG", "RGB"):
        with suppress(ValueError):  # Pillow reads or explains the files that it cannot read
            return torch.from_numpy(decode_jpeg(content)).permute(2, 0, 1)
    image.draft("RGB", (width, height))  # libjpeg skips details that are too fine; no effect on other formats
    return shrunk(cast(Tensor, pil_to_tensor(image.convert("RGB"))), (height, width))


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a decoder may raise almost anything, and the reason is always this file
        raise InputError(f"{path}: cannot be decoded as an image ({' '.join(str(error).split())})") from None
