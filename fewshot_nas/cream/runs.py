"""What search, retrain, truth and test build from their settings: images, inputs of evaluations, schedules."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fewshot_nas.cli.settings import compared
from fewshot_nas.config import Config, EvaluationConfig
from fewshot_nas.cream.config import CreamConfig, TrainConfig
from fewshot_nas.cream.model import PUBLISHED, STAGES
from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import batch_images, batches_per_epoch
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import Augmentation
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.running.images import (
    data_facts,
    evaluation_inputs,
    images_of,
    refuse_single_values,
    training_images,
)
from fewshot_nas.running.life import AnyRun
from fewshot_nas.running.manifest import manifest_of
from fewshot_nas.training.task import Source


def scoring_inputs(config: CreamConfig, data: ImageData, scored: Images, world: World, calibration: int = 0) -> Inputs:
    """Images to score on, where photographs are resized bicubically, and training images for calibration.

    As in training, a batch is the share of one process.
    """
    batch = max(1, config.BATCH_SIZE // world.size)
    space = config.SPACE.of((1,) * STAGES, config.resolution, len(data.mean))
    refuse_single_values(min(calibration, batch), space.sides()[-1], "BATCH_SIZE")
    evaluation = EvaluationConfig(calibration_images=calibration, calibration_batch=batch, batch_size=batch)
    generic = Config(data=config.data, evaluation=evaluation, run=config.run)
    return evaluation_inputs(generic, space, data, scored, world, bicubic=True)


def space_words(config: CreamConfig) -> str:
    """The space in the first line of a command."""
    return "of Cream" if config.SPACE == PUBLISHED else "of Cream, changed"


@dataclass(frozen=True, kw_only=True)
class CreamRun(AnyRun):
    """A Cream run: its settings, and the parts that are built from them."""

    config: TrainConfig

    @cached_property
    def images(self) -> ImageData:
        return self.say_opened(images_of(self.config.data), space_words(self.config))

    @property
    def data(self) -> ImageData:
        return self.images

    @property
    def per_epoch(self) -> int:
        return batches_per_epoch(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    def batch(self) -> int:
        """The number of images of a step, of all processes."""
        return batch_images(len(self.data.train), self.config.BATCH_SIZE, self.world.size)

    @property
    @abstractmethod
    def calibration(self) -> int:
        """Training images from which batch norms are estimated before a network is measured; 0: they are not."""

    def inputs(self, scored: Images) -> Inputs:
        return scoring_inputs(self.config, self.data, scored, self.world, self.calibration)

    def due(self, epochs: int) -> frozenset[int]:
        """Epochs, counted from 0, after which to validate."""
        return frozenset({*range(self.config.VALIDATE_EVERY - 1, epochs, self.config.VALIDATE_EVERY), epochs - 1})

    @property
    def scheduled(self) -> dict[str, Any]:
        """What all schedules of a run have in common."""
        config = self.config
        given = {"batch_size": config.BATCH_SIZE, "seed": config.run.seed, "clip_value": 0.0}
        return {**given, "checkpoint_steps": config.run.checkpoint_steps}

    def source(self, policy: str = "", jitter: float = 0.0) -> Source:
        data, settings, erasing = self.data, self.config.data, self.config.ERASING
        recipe = settings.augmentation or data.recipe
        transform = Augmentation(recipe, self.config.resolution, policy, jitter, erasing, data.mean, data.std)
        return Source(training_images(data.train, settings), transform, data.mean, data.std, settings.workers)

    def manifest(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a training depends on.

        Raises:
            InputError: there are more processes than images of a batch, or a batch norm would see a single value.
        """
        smallest = self.config.SPACE.of((1,) * STAGES, self.config.resolution).sides()[-1]
        refuse_single_values(self.world.of_norms(self.batch), smallest, "BATCH_SIZE")
        noted = {**self.world.facts, **facts, "data": data_facts(self.images)}
        return manifest_of(compared(self.config), noted)
