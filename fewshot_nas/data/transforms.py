"""Transforms from decoded images to a batch, uint8 [N, C, R, R], and from a batch to the network's input.

A transform depends only on the images and on one random key for each. So its result does not depend
on workers, on ranks, or on whether a run was resumed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data import RECIPES
from fewshot_nas.data.files import centre
from fewshot_nas.data.geometry import cuts, jittered
from fewshot_nas.data.images import uniform
from fewshot_nas.data.pictures import Pixels, whole

Step = Callable[[Image.Image], Image.Image]  # of an augmentation, on a picture of PIL


class Transform(Protocol):
    """Maps images, with a key from `random_keys` for each, to uint8 [N, C, R, R], in two steps."""

    def __call__(self, pixels: Pixels, keys: Tensor) -> Tensor:
        """Apply the first step, which takes the images one by one, on the CPU."""

    def finish(self, batch: Tensor, keys: Tensor) -> Tensor:
        """Apply the second step, if there is one, to a whole batch on the batch's device; the keys are on the CPU."""
        return batch


@dataclass(frozen=True)
class CentreCrop(Transform):
    """Resize the shorter side, then crop the centre; nothing random.

    By Pillow, so that `predict` does the same without torch, and any make of processor gives the same bytes.
    """

    resolution: int
    shorter_side: int
    interpolation: v2.InterpolationMode = v2.InterpolationMode.BILINEAR

    def __call__(self, pixels: Pixels, keys: Tensor | None = None) -> Tensor:
        if isinstance(pixels, Tensor) and pixels.shape[-2:] == (self.shorter_side,) * 2 == (self.resolution,) * 2:
            return pixels
        return torch.stack([self._cropped(whole(image)) for image in pixels])

    def described(self) -> dict[str, Any]:
        """What it does, as a deployment card says it."""
        resize = {"shorter_side": self.shorter_side, "interpolation": self.interpolation.value, "antialias": True}
        return {"resize": resize, "centre_crop": self.resolution}

    def _cropped(self, image: Tensor) -> Tensor:
        sides, way = (self.shorter_side, self.resolution), self.interpolation.value
        return torch.cat([pil_to_tensor(centre(Image.fromarray(each.numpy()), *sides, way)) for each in image])


@dataclass(frozen=True)
class Small(Transform):
    """For small images: a random crop after padding with black, a random flip, both or neither."""

    resolution: int
    shift: bool
    flip: bool

    def __call__(self, pixels: Pixels, keys: Tensor) -> Tensor:
        side = self.resolution
        padding = side // 7 if self.shift else 0  # 4 at 28 pixels, 1 at 8
        padded = F.pad(CentreCrop(side, side)(pixels), [padding] * 4)
        windows = padded.unfold(2, side, 1).unfold(3, side, 1)  # a view: [N, C, offset, offset, R, R]
        offsets = 2 * padding + 1
        shifted = windows[torch.arange(len(keys)), :, keys % offsets, keys // offsets % offsets]
        if not self.flip:
            return shifted
        mirrored = keys // offsets**2 % 2 == 1
        return torch.where(mirrored[:, None, None, None], shifted.flip(-1), shifted)


@dataclass(frozen=True)
class Photo(Transform):
    """Rotation by up to 15 degrees, random resized crop and flip in one resampling; brightness and contrast jitter 0.5.

    The jitter comes last, when there are the fewest pixels and all images have the same size. So the
    contrast refers to the mean of the crop, not to that of the whole image; brightness is not affected.
    """

    resolution: int

    def __call__(self, pixels: Pixels, keys: Tensor) -> Tensor:
        return cuts(pixels, keys, self.resolution, degrees=15)

    def finish(self, batch: Tensor, keys: Tensor) -> Tensor:
        return jittered(batch, *(0.5 + uniform(f"photo/{what}", keys) for what in ("brightness", "contrast")))


@dataclass(frozen=True)
class Upright(Transform):
    """For photographs: only a random resized crop and a flip."""

    resolution: int

    def __call__(self, pixels: Pixels, keys: Tensor) -> Tensor:
        return cuts(pixels, keys, self.resolution, degrees=0)


def train_transform(recipe: str, resolution: int) -> Transform:
    """The transform of a recipe: `photo`, or for small images `shift` (pad and crop), `flip`, `shift_flip`, `none`."""
    _check(recipe)
    return Photo(resolution) if recipe == "photo" else small(recipe, resolution)


def small(recipe: str, resolution: int) -> Small:
    return Small(resolution, shift="shift" in recipe, flip="flip" in recipe)


def eval_transform(recipe: str, resolution: int, *, bicubic: bool = False) -> CentreCrop:
    """The transform for validation and calibration: photographs lose a margin (256 to 224), small images nothing.

    Args:
        bicubic: whether photographs are resized by bicubic interpolation; small images never are.
    """
    _check(recipe)
    if recipe != "photo":
        return CentreCrop(resolution, resolution)
    mode = v2.InterpolationMode.BICUBIC if bicubic else v2.InterpolationMode.BILINEAR
    return CentreCrop(resolution, resolution * 256 // 224, mode)


def _check(recipe: str) -> None:
    if recipe not in RECIPES:
        raise InputError(f"the augmentation recipe is {recipe!r}, expected one of {', '.join(RECIPES)}")


def normalize(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The network's input, float32 in channels-last order, on the batch's device.

    Args:
        batch: uint8 [N, C, H, W].
        mean, std: per channel, of pixels in 0..1.
    """
    assert batch.dtype == torch.uint8
    pixels = batch.to(torch.float32, memory_format=torch.channels_last)
    shift, scale = (_per_channel(tuple(values), batch.device) for values in (mean, std))
    return pixels.sub_(shift).div_(scale)


@lru_cache(maxsize=16)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Made once: a copy to the device in every step would wait for it."""
    return torch.tensor(values, device=device).mul(255).view(-1, 1, 1)


@dataclass(frozen=True)
class Augmentation(Transform):
    """A recipe's crop and flip, followed by timm's augmentations.

    Attributes:
        policy: such as `rand-m9-mstd0.5` (arXiv:1909.13719); empty for none.
        jitter: of brightness, contrast and saturation.
        erasing: probability that a rectangle becomes noise (arXiv:1708.04896).
        mean, std: per channel, of pixels in 0..1; erased rectangles are filled with noise of this distribution.

    Raises:
        InputError: timm does not understand the policy.
    """

    recipe: str
    resolution: int
    policy: str
    jitter: float
    erasing: float
    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        self._steps()  # an invalid policy is refused here, not in the first batch

    def __call__(self, pixels: Pixels, keys: Tensor) -> Tensor:
        geometry = Upright(self.resolution) if self.recipe == "photo" else small(self.recipe, self.resolution)
        images = geometry(pixels, keys)
        if not (self.policy or self.jitter or self.erasing):
            return images
        from timm.data.random_erasing import RandomErasing  # here, because few trainings need timm, which takes seconds

        eraser = RandomErasing(self.erasing, mode="pixel", device="cpu")  # type: ignore[no-untyped-call]
        augment = partial(self._one, self._steps(), eraser)
        return torch.stack([seeded(augment, image, key) for image, key in zip(images, keys.tolist(), strict=True)])

    def _steps(self) -> list[Step]:
        """The augmentations of PIL images, in order."""
        jitter = v2.ColorJitter(self.jitter, self.jitter, self.jitter)
        return [
            *([jitter] if self.jitter else []),
            *([rand_augment(self.policy, self.mean)] if self.policy else []),
        ]

    def _one(self, steps: Sequence[Step], erase: Callable[[Tensor], Any], image: Tensor) -> Tensor:
        if steps:
            picture = to_pil_image(image).convert("RGB")  # timm needs three channels, so grey is given as colour
            for step in steps:
                picture = step(picture)
            image = cast(Tensor, pil_to_tensor(picture))[: len(image)]
        if not self.erasing:
            return image
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        erased = cast(Tensor, erase((image / 255 - mean) / std))
        return ((erased * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def rand_augment(policy: str, mean: Sequence[float]) -> Any:
    """timm's RandAugment; pixels that a shift or rotation uncovers get the mean colour.

    Raises:
        InputError: timm does not understand the policy.
    """
    from timm.data.auto_augment import rand_augment_transform

    try:
        colour = tuple(round(255 * value) for value in (mean if len(mean) == 3 else [*mean] * 3))
        return rand_augment_transform(policy, {"img_mean": colour})
    except (AssertionError, ValueError, KeyError) as error:
        raise InputError(f"AUTO_AUGMENT is {policy!r}, expected one such as rand-m9-mstd0.5 ({error})") from None


def seeded(augment: Callable[[Tensor], Tensor], image: Tensor, key: int) -> Tensor:
    """Call an augmentation that draws from the global generators of torch, numpy and Python.

    The generators are seeded with the key, and get their old states back afterwards. Because they
    are global, a thread must not do this while another one trains; a process may.
    """
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.default_generator.manual_seed(key)
    np.random.seed(key % 2**32)
    random.seed(key)
    try:
        return augment(image)
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
