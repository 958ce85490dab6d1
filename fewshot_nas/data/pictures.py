"""Photographs: each of its own size, and decoded when its pixels are asked for, no larger than needed."""

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

try:  # the same bytes as Pillow's in two thirds of the time: pip install 'fewshot-nas[jpeg]'
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None


class Picture(Protocol):
    """An image that is not necessarily decoded yet."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, shrink: int = 1) -> Tensor:
        """The pixels, uint8 [3, H, W], or up to `shrink` times fewer in height and in width."""


Pixels = Tensor | list[Picture] | list[Tensor]  # uint8 [N, C, H, W], or N images of their own sizes


@dataclass(frozen=True)
class FilePicture:
    """An image file, read once, always to RGB.

    Raises:
        InputError: the file is missing or is not an image of 8 bits a channel; names its path.
    """

    path: Path

    @property
    def size(self) -> tuple[int, int]:
        """As the file's head tells."""
        width, height = self._opened.size
        return height, width

    def read(self, shrink: int = 1) -> Tensor:
        """Decoded; of a JPEG file, no more than is needed."""
        mode = self._opened.mode
        with _about(self.path):
            pixels = _decoded(self._opened, self._content, shrink)
        if mode[0] in "IF":  # integers and floats, which the conversion would have clipped
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
    """All pixels, uint8 [C, H, W]."""
    return image if isinstance(image, Tensor) else image.read()


def size_of(image: Tensor | Picture) -> tuple[int, int]:
    """Height and width."""
    return (image.shape[-2], image.shape[-1]) if isinstance(image, Tensor) else image.size


def reduced(image: Tensor | Picture, shrink: int) -> Tensor:
    """The pixels, up to `shrink` times fewer in each direction."""
    return image if isinstance(image, Tensor) else image.read(shrink)


def shrunk(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels [C, H, W] brought down to `size`, if that is at most half of theirs."""
    if pixels.shape[-2] < 2 * size[0] or pixels.shape[-1] < 2 * size[1]:
        return pixels
    return cast(Tensor, torchvision.transforms.v2.functional.resize(pixels, list(size), antialias=True))


def _decoded(image: Image.Image, content: bytes, shrink: int) -> Tensor:
    height, width = (-(-side // shrink) for side in (image.height, image.width))
    if shrink == 1 and decode_jpeg and (image.format, image.mode) == ("JPEG", "RGB"):
        with suppress(ValueError):  # what it cannot read, Pillow reads or explains
            return torch.from_numpy(decode_jpeg(content)).permute(2, 0, 1)
    image.draft("RGB", (width, height))  # libjpeg leaves out what is too fine; other formats take no notice
    return shrunk(cast(Tensor, pil_to_tensor(image.convert("RGB"))), (height, width))


@contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a decoder may raise almost anything, and it is always about this file
        raise InputError(f"{path}: cannot be decoded as an image ({' '.join(str(error).split())})") from None
