"""Augmentation of photographs: rotation, crop, resizing and mirroring in one resampling, and brightness and contrast.

torchvision draws random numbers from one global generator. Here they are a function of each image's
key, so the result does not depend on workers, on ranks, or on whether a run was resumed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.data.images import uniform
from fewshot_nas.data.pictures import Picture, Pixels, reduced, size_of


def _opencv() -> Any:
    """OpenCV, if it is there: it resamples in a third of the time.

    Versions before 5 know only 32 places between two pixels.
    """
    try:
        import cv2
    except ImportError:
        return None
    if int(cv2.__version__.partition(".")[0]) < 5:
        return None
    cv2.setNumThreads(1)  # each worker has one core; and OpenCV's threads do not survive a fork
    return cv2


OPENCV = _opencv()  # pip install 'fewshot-nas[opencv]'
AREA = (0.08, 1.0)  # range of a crop's area, as a share of the image's
ASPECT = (3 / 4, 4 / 3)  # range of a crop's width divided by its height
_ATTEMPTS = 10  # at finding a crop that lies within the image
_GREY = (0.299, 0.587, 0.114)

Matrix = tuple[tuple[float, ...], ...]  # two rows, for x, y and 1
Draw = Mapping[str, float]  # random numbers in [0, 1), by their purpose


@dataclass(frozen=True)
class Box:
    """A rectangle in an image, in pixels."""

    top: float
    left: float
    height: float
    width: float


def cuts(pixels: Pixels, keys: Tensor, resolution: int, *, degrees: float) -> Tensor:
    """Rotate each image about its centre, crop and resize it, and mirror every other one at random; uint8 [N, C, R, R].

    Args:
        keys: int64 [N]; all randomness follows from them.
        degrees: largest rotation to either side.
    """
    drawn = zip(pixels, _draws(keys), strict=True)
    return torch.stack([_cut(image, draw, resolution, degrees) for image, draw in drawn])


def _draws(keys: Tensor) -> list[Draw]:
    names = ["angle", "mirror", "top", "left", *(f"{what}{n}" for n in range(_ATTEMPTS) for what in ("area", "aspect"))]
    columns = torch.stack([uniform(f"photo/{name}", keys) for name in names], 1)
    return [dict(zip(names, row, strict=True)) for row in columns.tolist()]


def _cut(image: Tensor | Picture, draw: Draw, resolution: int, degrees: float) -> Tensor:
    """Do everything in one bilinear resampling; pixels that the rotation uncovers are black.

    If the crop has at least twice as many pixels as needed in each direction, the image is decoded at a smaller size.
    """
    size = size_of(image)
    box = random_box(size, draw)
    source = reduced(image, max(1, int(min(box.height, box.width) / resolution)))
    angle = math.radians(degrees * (2 * draw["angle"] - 1))
    matrix = _matrix(size, box, angle, mirrored=draw["mirror"] < 0.5)
    return (_warped if OPENCV else _sampled)(source, matrix, resolution)


def _sampled(source: Tensor, matrix: Matrix, resolution: int) -> Tensor:
    """The image [C, H, W] at the places that the matrix says, uint8 [C, R, R]."""
    grid = _grid(matrix, resolution)
    sampled = F.grid_sample(source[None].float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[0].round_().to(torch.uint8)


def _warped(source: Tensor, matrix: Matrix, resolution: int) -> Tensor:
    """As `_sampled`, by OpenCV. Of ten thousand values two or three are rounded the other way."""
    first = 1 / resolution - 1  # the centre of the first pixel
    in_pixels = [
        (x * side / resolution, y * side / resolution, ((x + y) * first + one + 1) * side / 2 - 0.5)
        for (x, y, one), side in zip(matrix, (source.shape[2], source.shape[1]), strict=True)
    ]
    rows = source.permute(1, 2, 0).contiguous().numpy()  # a view of what a decoder gives
    flags = OPENCV.INTER_LINEAR | OPENCV.WARP_INVERSE_MAP  # black beside the image
    warped = OPENCV.warpAffine(rows, np.array(in_pixels), (resolution, resolution), flags=flags)
    return torch.from_numpy(warped.reshape(resolution, resolution, -1)).permute(2, 0, 1)


def random_box(size: tuple[int, int], draw: Draw) -> Box:
    """The box of a random resized crop (arXiv:1409.4842); the largest centred one if ten draws do not fit."""
    height, width = size
    for number in range(_ATTEMPTS):
        area = height * width * (AREA[0] + draw[f"area{number}"] * (AREA[1] - AREA[0]))
        low, high = map(math.log, ASPECT)
        aspect = math.exp(low + draw[f"aspect{number}"] * (high - low))
        h, w = math.sqrt(area / aspect), math.sqrt(area * aspect)
        if h <= height and w <= width:
            return Box(draw["top"] * (height - h), draw["left"] * (width - w), h, w)
    h, w = min(height, width / ASPECT[0]), min(width, height * ASPECT[1])
    return Box((height - h) / 2, (width - w) / 2, h, w)


def _matrix(size: tuple[int, int], box: Box, angle: float, *, mirrored: bool) -> Matrix:
    """The map from coordinates of the output to those of the image, both from -1 to 1: two rows for x, y and 1."""
    height, width = size
    x_scale, y_scale = box.width / 2 * (-1 if mirrored else 1), box.height / 2
    x_shift, y_shift = box.left + box.width / 2 - width / 2, box.top + box.height / 2 - height / 2
    cos, sin = math.cos(angle), math.sin(angle)
    across = (cos * x_scale, sin * y_scale, cos * x_shift + sin * y_shift)
    down = (-sin * x_scale, cos * y_scale, -sin * x_shift + cos * y_shift)
    return tuple(2 * value / width for value in across), tuple(2 * value / height for value in down)


def _grid(matrix: Matrix, resolution: int) -> Tensor:
    """The position in the image from which each pixel of the output is taken, float32 [1, R, R, 2]."""
    centres = (2 * torch.arange(resolution) + 1) / resolution - 1
    grid = torch.empty(1, resolution, resolution, 2)
    for axis, (x, y, one) in enumerate(matrix):
        torch.add(x * centres + one, (y * centres)[:, None], out=grid[0, :, :, axis])
    return grid


def jittered(batch: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Multiply each image by its brightness, then its distance from its mean grey by its contrast.

    The mean is a sum of whole numbers, which is exact in any order, so the result depends neither
    on the other images of the batch nor on the number of threads.

    Args:
        batch: uint8 [N, C, H, W].
        brightness, contrast: factors, [N].
    """
    factors = torch.stack([brightness, contrast], 1).float().to(batch.device, non_blocking=True)
    at_once = 1 if batch.device.type == "cpu" else len(batch)  # one image fits into a processor's cache
    parts = zip(torch.split(batch, at_once), torch.split(factors, at_once), strict=True)
    return torch.cat([_jittered(images, *part.view(-1, 2, 1, 1, 1).unbind(1)) for images, part in parts])


def _jittered(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    bright = images.float().mul_(brightness).clamp_(max=255).round_()
    grey = _mean_grey(bright).view(-1, 1, 1, 1)
    return bright.mul_(contrast).add_((1 - contrast) * grey).clamp_(0, 255).round_().to(torch.uint8)


def _mean_grey(images: Tensor) -> Tensor:
    """Mean grey of each image, [N]. The sums are exact: float32 holds that of a row, float64 that of an image."""
    means = images.sum(3).sum(2, dtype=torch.float64) / (images.shape[2] * images.shape[3])
    return (means * _grey_weights(images.shape[1], images.device)).sum(1).float()


@lru_cache(maxsize=16)
def _grey_weights(channels: int, device: torch.device) -> Tensor:
    """Made once: a copy to the device in every batch would wait for it."""
    weights = _GREY if channels == 3 else [1 / channels] * channels
    return torch.tensor(weights, dtype=torch.float64, device=device)
