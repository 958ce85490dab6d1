"""Image files as Pillow opens them, without torch: which files are images, their pixels, and the cut of the centre.

Every file becomes RGB with 8 bits a channel: turned as its EXIF orientation says, transparent pixels on a background.
Grey becomes three equal channels, CMYK is converted without its colour profile, of 16 bits the upper 8 count, and of
several frames the first. Training, evaluation, `predict` and the card's program follow the same rules.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from fewshot_nas.cli.errors import InputError

WHITE = (255, 255, 255)
Colour = tuple[int, ...]  # red, green and blue, 0..255
# Formats that Pillow recognises, but decodes with another program or not at all.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})


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
    return name.startswith(".")


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
