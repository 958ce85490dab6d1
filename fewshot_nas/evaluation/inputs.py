"""The images that subnets are calibrated and scored on, decoded once and held as bytes."""

from collections.abc import Iterable, Iterator, Sequence
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
        calibration_batch: images whose statistics are one sample of a batch norm's. The last batch may have fewer, and
            weighs less; a last one of a single image joins the batch before, which then has one image more.
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

    @property
    def count(self) -> int:
        """Images that go through each subnet in all."""
        return len(self.calibration) + len(self.images)

    @property
    def nbytes(self) -> int:
        return self.calibration.nbytes + self.images.nbytes

    def on_device(self) -> "Inputs":
        """These inputs with all images on the device if `holds_images`, else unchanged."""
        if not self.holds_images:
            return self
        held = {name: getattr(self, name).to(self.device) for name in ("calibration", "images", "labels")}
        return replace(self, **held)

    @property
    def calibration_sizes(self) -> list[int]:
        whole, rest = divmod(len(self.calibration), self.calibration_batch)
        sizes = [self.calibration_batch] * whole + [rest] * (rest > 0)
        return [*sizes[:-2], sizes[-2] + 1] if whole and rest == 1 else sizes

    def calibration_batches(self) -> Iterator[Tensor]:
        """Normalised calibration images, a batch at a time."""
        return map(self._ready, torch.split(self.calibration, self.calibration_sizes))

    def scoring_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in zip(*(torch.split(each, self.batch) for each in (self.images, self.labels)), strict=True):
            yield self._ready(images), labels.to(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _ready(self, batch: Tensor) -> Tensor:
        return normalize(batch.to(self.device), self.mean, self.std)


def weighed(batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, float]]:
    """Calibration batches, each with the momentum by which running statistics become means over all images so far.

    Raises:
        ValueError: there is no batch.
    """
    seen = 0
    for images in batches:
        seen += len(images)
        yield images, len(images) / seen
    if not seen:
        raise ValueError("calibration needs at least one batch")
