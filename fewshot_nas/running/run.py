"""What all trainings of a run build from its settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Report
from fewshot_nas.config import Config, RecipeConfig
from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import batch_images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.manifest import manifest, refuse_another_run
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import trainings
from fewshot_nas.running.images import (
    data_facts,
    evaluation_inputs,
    open_images,
    opened,
    refuse_single_values,
    say_shortages,
    training_images,
)
from fewshot_nas.running.life import LifeCycle, Training
from fewshot_nas.space.space import Space
from fewshot_nas.training.loop import Schedule, Source, Task, step_seed

N = TypeVar("N", bound=nn.Module)
T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Run:
    """A training command's run: its settings, and the parts that are built from them.

    Attributes:
        save: the run's name.
        resume: whether to continue an unfinished run of the same name.
        report: shows a line to the user.
        words: the run in the first line of the command, see `cli.run_words`; without it there is none.
        plan: whether only to say what a training will cost.
    """

    save: str
    config: Config
    world: World
    resume: bool
    report: Report
    words: str = ""
    plan: bool = False

    @cached_property
    def space(self) -> Space:
        """The space of the settings."""
        return self.config.space.build()

    @cached_property
    def data(self) -> ImageData:
        """The data set of the settings."""
        data = open_images(self.config, self.space)
        if self.words:
            self.report(opened(self.words, data, self.space.name, self.world))
        for note in data.notes:
            self.report(note)
        say_shortages(self.config, data, self.report)
        return data

    def inputs(self, scored: Images) -> Inputs:
        """The inputs of an evaluation, see `evaluation_inputs`."""
        return evaluation_inputs(self.config, self.space, self.data, scored, self.world)

    def life(self, directory: PhaseDirectory) -> LifeCycle:
        """The life cycle of the training in a directory."""
        return LifeCycle(directory, self.config, self.world, self.resume, self.report, self.plan)

    def manifest(self, section: str, directory: PhaseDirectory, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a training depends on.

        Args:
            section: of the settings, with the training's recipe.
            directory: where the training keeps its files.
            facts: what it depends on beside settings and data.

        Raises:
            InputError: it cannot be trained, or the run's other trainings have other data or another space.
        """
        settings = self.recipe(section)
        if settings.warmup_epochs > settings.epochs:
            raise InputError(
                f"{section}.warmup_epochs is {settings.warmup_epochs}, expected at most {section}.epochs, which is"
                f" {settings.epochs}"
            )
        images, batch = len(self.data.train), settings.batch_size
        batch_images(images, batch, self.world.size)
        if batch > images:
            self.report(f"{section}.batch_size is {batch}, but there are {images} training images: each step takes all")
        data = data_facts(self.data)
        written = manifest(self.config, section, {**self.world.facts, **facts, "data": data})
        others = (each.manifest for each in trainings(self.save) if each.path != directory.path)
        refuse_another_run(others, written)
        return written

    def training(self, section: str, task: T, images: Images) -> Training[T]:
        """A task with its images and its schedule.

        Raises:
            InputError: a batch norm would see a single value.
        """
        settings, config, data = self.recipe(section), self.config, self.data
        batch = batch_images(len(images), settings.batch_size, self.world.size)
        smallest = min(getattr(settings, "resolutions", ()), default=self.space.resolution)
        refuse_single_values(self.world.of_norms(batch), self.space.sides(smallest)[-1], f"{section}.batch_size")
        schedule = Schedule(
            epochs=settings.epochs,
            warmup_epochs=settings.warmup_epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            clip_value=settings.clip_value,
            seed=config.run.seed,
            checkpoint_steps=config.run.checkpoint_steps,
        )
        transform = train_transform(config.data.augmentation or data.recipe, self.space.resolution)
        source = Source(training_images(images, config.data), transform, data.mean, data.std, config.data.workers)
        return Training(task, source, schedule)

    def recipe(self, section: str) -> RecipeConfig:
        """A section of the settings that says how to train."""
        settings = getattr(self.config, section)
        assert isinstance(settings, RecipeConfig)
        return settings


def seed_weights(seed: int) -> None:
    """Make torch's generator give the same first weights on all processes."""
    torch.manual_seed(step_seed(seed, -1))


def placed(network: N, world: World) -> N:
    """The network on this process's device, in the memory layout that suits its convolutions."""
    return network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
