"""Photographs of different sizes. Each is decoded when its pixels are needed, and no larger than needed.

What a file's pixels are, `files.py` says.
"""

import io
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import torch
import torchvision
from PIL import Image, ImageFile
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from fewshot_nas.data.files import WHITE, Colour, about, as_rgb, orientation

try:  # gives the same bytes as Pillow in two thirds of the time: pip install 'fewshot-nas[jpeg]'
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None


READING = 3  # rises whenever files are read to other pixels; names of cached files contain it
_ON_ITS_SIDE = range(5, 9)  # EXIF orientations that swap height and width


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

    Attributes:
        background: of transparent pixels.

    Raises:
        InputError: the file is missing or is not an image of 8 or 16 bits a channel; names its path.
    """

    path: Path
    background: Colour = WHITE

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width as it is shown, from the file's header."""
        width, height = self._opened.size
        return (width, height) if self._orientation in _ON_ITS_SIDE else (height, width)

    def read(self, shrink: int = 1) -> Tensor:
        """The decoded pixels; a JPEG file is decoded no larger than needed."""
        height, width = (-(-side // shrink) for side in self.size)
        with about(self.path):
            pixels = None
            if shrink == 1 and self._orientation == 1:
                pixels = _quickly(self._opened, self.content)
            return shrunk(self._decoded(shrink) if pixels is None else pixels, (height, width))

    def _decoded(self, shrink: int) -> Tensor:
        image: Image.Image = self._opened
        # libjpeg skips details that are too fine; no effect on other formats.
        image.draft("RGB", (-(-image.width // shrink), -(-image.height // shrink)))
        return cast(Tensor, pil_to_tensor(as_rgb(self.path, image, self._orientation, self.background)))

    def oddities(self) -> list[str]:
        """What reading changes: `transparent`, `16 bits`, `frames`; call it before the file is read."""
        with about(self.path):
            image, found = self._opened, []
            if ";16" in str(image.tile):  # of colours Pillow itself takes the upper 8
                found.append("16 bits")
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # a camera's second frame is a preview
                found.append("frames")
            if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
                found.append("transparent")
            return found

    @cached_property
    def content(self) -> bytes:
        with about(self.path):
            return self.path.read_bytes()

    @cached_property
    def _opened(self) -> ImageFile.ImageFile:
        with about(self.path):
            return Image.open(io.BytesIO(self.content))

    @cached_property
    def _orientation(self) -> int:
        return orientation(self._opened)


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


def _quickly(image: Image.Image, content: bytes) -> Tensor | None:
    """The pixels of a JPEG file in colour by the fast decoder, if it is there."""
    if decode_jpeg and (image.format, image.mode) == ("JPEG", "RGB"):
        with suppress(ValueError):  # Pillow reads or explains the files that it cannot read
            return torch.from_numpy(decode_jpeg(content)).permute(2, 0, 1)
    return None
