"""Stronger augmentation, built from timm: colour jitter, RandAugment, random erasing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.pictures import Pixels
from fewshot_nas.data.transforms import Transform, Upright, seeded, small


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
        eraser = RandomErasing(self.erasing, mode="pixel", device="cpu")  # type: ignore[no-untyped-call]
        augment = partial(self._one, _colours(self._steps()), eraser)
        return torch.stack([seeded(augment, image, key) for image, key in zip(images, keys.tolist(), strict=True)])

    def _steps(self) -> list[Callable[[Image.Image], Image.Image]]:
        """The augmentations of PIL images, in order."""
        jitter = v2.ColorJitter(self.jitter, self.jitter, self.jitter)
        return [
            *([jitter] if self.jitter else []),
            *([rand_augment(self.policy, self.mean)] if self.policy else []),
        ]

    def _one(self, colours: Callable[[Tensor], Tensor], erase: RandomErasing, image: Tensor) -> Tensor:
        image = colours(image)
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
    try:
        colour = tuple(round(255 * value) for value in (mean if len(mean) == 3 else [*mean] * 3))
        return rand_augment_transform(policy, {"img_mean": colour})
    except (AssertionError, ValueError, KeyError) as error:
        raise InputError(f"AUTO_AUGMENT is {policy!r}, expected one such as rand-m9-mstd0.5 ({error})") from None


def _colours(steps: Sequence[Callable[[Image.Image], Image.Image]]) -> Callable[[Tensor], Tensor]:
    """Steps on PIL images as one step on uint8 [C, H, W]. timm needs three channels, so grey is given as colour."""

    def apply(image: Tensor) -> Tensor:
        if not steps:
            return image
        picture = to_pil_image(image).convert("RGB")
        for step in steps:
            picture = step(picture)
        return cast(Tensor, pil_to_tensor(picture))[: len(image)]

    return apply
