"""Building the parts of a Cream run from its settings: code that search, retrain and test share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor

from fewshot_nas.cli.settings import compared
from fewshot_nas.cream.config import CreamConfig, CreamSpace, TrainConfig
from fewshot_nas.data.augment import Augmentation
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.images import Images, calibration_subset, split_off
from fewshot_nas.data.loader import batch_images, batches_per_epoch
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.running.images import data_facts, images_of, refuse_single_values, training_images
from fewshot_nas.running.life import AnyRun
from fewshot_nas.running.manifest import manifest_of
from fewshot_nas.training.task import Source

HELD_SHARE = 8  # at most one of so many training images is held out


def scoring_inputs(
    config: CreamConfig, data: ImageData, scored: Images, resolution: int, world: World, calibration: int = 0
) -> Inputs:
    """Images to score on, where photographs are resized bicubically, and training images for calibration.

    As in training, a batch is the share of one process.
    """
    batch = max(1, config.BATCH_SIZE // world.size)
    transform = eval_transform(data.recipe, resolution, bicubic=True)

    def pixels(images: Images) -> Tensor:
        return decoded(images, transform, config.data.cache, workers=config.data.workers)

    scored_pixels = pixels(scored)
    inputs = Inputs(
        calibration=pixels(calibration_subset(data.train, calibration, seed=0)) if calibration else scored_pixels[:0],
        calibration_batch=batch,
        images=scored_pixels,
        labels=scored.labels,
        batch=batch,
        mean=data.mean,
        std=data.std,
        device=world.device,
        precision=config.run.precision,
    )
    if calibration:
        refuse_single_values(min(inputs.calibration_sizes), config.SPACE.last_side(resolution), "CALIBRATION_IMAGES")
    return inputs


def space_words(config: CreamConfig) -> str:
    """The space in the first line of a command."""
    return "of Cream" if CreamSpace() == config.SPACE else "of Cream, changed"


@dataclass(frozen=True, kw_only=True)
class CreamRun(AnyRun):
    """A Cream run: its settings, and the parts that are built from them.

    Attributes:
        resolution: side of the images, in pixels.
    """

    config: TrainConfig
    resolution: int

    @cached_property
    def images(self) -> ImageData:
        """The data set of the settings, the held images among the training images."""
        return self.say_opened(images_of(self.config.data), space_words(self.config))

    @cached_property
    def _split(self) -> tuple[Images, Images]:
        """Images to train on, and those held out of them."""
        train, held = self.images.train, self.config.held_images
        return split_off(train, max(2, min(held, len(train) // HELD_SHARE))) if held else (train, train)

    @cached_property
    def data(self) -> ImageData:
        """The data set of the settings, without the held images."""
        return replace(self.images, train=self._split[0])

    @property
    def stored(self) -> CreamConfig:
        """The settings as the run keeps them."""
        return self.config.stored(len(self.images.mean))

    @property
    def held(self) -> Images:
        """The training images that nobody trains on, though at most an eighth of them."""
        return self._split[1]

    @property
    def per_epoch(self) -> int:
        """The number of steps in an epoch."""
        return batches_per_epoch(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    def batch(self) -> int:
        """The number of images of a step, of all processes."""
        return batch_images(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    def calibration(self) -> int:
        """Training images from which batch norms are estimated before a network is measured; 0: they are not."""
        return 0

    def inputs(self, scored: Images, calibration: int = 0) -> Inputs:
        """Images to score on, and so many training images to calibrate with."""
        return scoring_inputs(self.config, self.data, scored, self.resolution, self.world, calibration)

    @cached_property
    def valid(self) -> Inputs:
        """The images to rank on."""
        return self.inputs(self.data.valid, self.calibration)

    @cached_property
    def test(self) -> Inputs:
        """The test images."""
        return self.inputs(self.data.test, self.calibration)

    def due(self, epochs: int) -> frozenset[int]:
        """Epochs, counted from 0, after which to validate."""
        return frozenset({*range(self.config.VALIDATE_EVERY - 1, epochs, self.config.VALIDATE_EVERY), epochs - 1})

    def source(self, policy: str, jitter: float) -> Source:
        """Training images and their augmentation."""
        data, erasing = self.data, self.config.ERASING
        recipe = self.config.data.augmentation or data.recipe
        transform = Augmentation(recipe, self.resolution, policy, jitter, erasing, data.mean, data.std)
        return Source(
            training_images(data.train, self.config.data), transform, data.mean, data.std, self.config.data.workers
        )

    def manifest(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a training depends on.

        Raises:
            InputError: there are more processes than images of a batch, or a batch norm would see a single value.
        """
        refuse_single_values(
            self.world.of_norms(self.batch), self.config.SPACE.last_side(self.resolution), "BATCH_SIZE"
        )
        noted = {**self.world.facts, **facts, "data": data_facts(self.images)}
        return manifest_of(compared(self.config), noted)
