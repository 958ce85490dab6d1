"""The images that subnets are calibrated and scored on, decoded once and held as bytes."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fewshot_nas.data.transforms import normalize


@dataclass(frozen=True, eq=False)
class Inputs:
    """What every subnet of an evaluation sees.

    Attributes:
        calibration: training images, uint8 [N, C, R, R]; validation images would leak into the
            ranking.
        calibration_batch: images whose statistics are one sample of a batch norm's.
        images, labels: uint8 [M, C, R, R] and int64 [M], to be scored on.
        batch: images at a time; no result depends on it beyond rounding.
        mean, std: per channel, of pixels in 0..1.
        holds_kernels: whether a unit's weights, as they are multiplied, are held from batch to batch.
        holds_images: whether the device holds all images from unit to unit.
    """

    calibration: Tensor
    calibration_batch: int
    images: Tensor
    labels: Tensor
    batch: int
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    holds_kernels: bool = False
    holds_images: bool = False

    def near(self) -> "Inputs":
        """The same with all images on the device, if it is to hold them."""
        if not self.holds_images:
            return self
        calibration, images, labels = (part.to(self.device) for part in (self.calibration, self.images, self.labels))
        return replace(self, calibration=calibration, images=images, labels=labels)

    def calibration_batches(self) -> Iterator[Tensor]:
        """Normalised calibration images, a batch at a time."""
        for start in range(0, len(self.calibration), self.calibration_batch):
            yield self._ready(self.calibration[start : start + self.calibration_batch])

    def scoring_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images with their labels."""
        for start in range(0, len(self.images), self.batch):
            part = slice(start, start + self.batch)
            yield self._ready(self.images[part]), self.labels[part].to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of convolutions and classifier."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _ready(self, batch: Tensor) -> Tensor:
        return normalize(batch.to(self.device), self.mean, self.std)
