"""What all trainings of a run build from its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config, RecipeConfig, StartConfig
from fewshot_nas.data.images import Images
from fewshot_nas.data.loader import batch_images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.start import Start, read_start
from fewshot_nas.records.files import sha256
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import trainings
from fewshot_nas.running.images import (
    PLANNED_CLASSES,
    data_facts,
    evaluation_inputs,
    open_images,
    planned_images,
    refuse_single_values,
    say_shortage,
    trained_on,
    training_images,
)
from fewshot_nas.running.life import AnyRun, Begun
from fewshot_nas.running.manifest import manifest, refuse_another_run
from fewshot_nas.space.space import Space
from fewshot_nas.training.loop import Schedule, step_seed
from fewshot_nas.training.task import Source, Task

N = TypeVar("N", bound=nn.Module)
T = TypeVar("T", bound=Task[Any, Any])


@dataclass(frozen=True, kw_only=True)
class Run(AnyRun):
    """A run of the ranking system: its settings, and the parts that are built from them."""

    config: Config

    @cached_property
    def space(self) -> Space:
        return self.config.space.build()

    @cached_property
    def data(self) -> ImageData:
        data = self.say_opened(self._opened(), self.space.name)
        say_shortage(self.config, data, self.report)
        return data

    def _opened(self) -> ImageData:
        """The data set of the settings; a plan does without images."""
        try:
            return open_images(self.config, self.space)
        except InputError as error:
            if not self.plan:
                raise
            self.report(f"{error}; planned without images, as for ImageNet, so the time has no decoding in it")
            return planned_images(self.config, self.space, self.config.data.num_classes or PLANNED_CLASSES)

    def inputs(self, scored: Images) -> Inputs:
        """The inputs of an evaluation, see `evaluation_inputs`; a plan needs no pixels."""
        return evaluation_inputs(self.config, self.space, self.data, scored, self.world, decode=not self.plan)

    def manifest(self, settings: RecipeConfig, directory: PhaseDirectory, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What a training depends on.

        Args:
            settings: how to train.
            directory: where the training keeps its files.
            facts: what it depends on beside settings and data.

        Raises:
            InputError: it cannot be trained, or the run's other trainings have other data or another space.
        """
        section = settings.section
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
        written = manifest(self.config, settings, {**self.world.facts, **facts, "data": data})
        others = (each.manifest for each in trainings(self.save) if each.path != directory.path)
        refuse_another_run(others, written)
        return written

    def begun(self, settings: RecipeConfig, task: T, images: Images) -> Begun[T]:
        """A task with its images and its schedule.

        Raises:
            InputError: a batch norm would see a single value.
        """
        config, data = self.config, self.data
        batch = batch_images(len(images), settings.batch_size, self.world.size)
        smallest = min(getattr(settings, "resolutions", ()), default=self.space.resolution)
        seen = self.world.of_norms(batch)
        refuse_single_values(seen, self.space.sides(smallest)[-1], f"{settings.section}.batch_size")
        # A schedule takes the settings of its own names: a new one stands in two files, config.py and training/loop.py.
        given = {**vars(config.run), **vars(settings)}
        schedule = Schedule(**{each.name: given[each.name] for each in fields(Schedule)})
        transform = train_transform(config.data.augmentation or data.recipe, self.space.resolution)
        source = Source(training_images(images, config.data), transform, data.mean, data.std, config.data.workers)
        return Begun(task, source, schedule)


def started(run: Run, path: Path) -> Start:
    """The weights of a file, fitted to the run; says what became of them.

    Raises:
        InputError: the file does not fit, see `read_start`.
    """
    seed_weights(run.config.run.seed)
    start = read_start(path, run.space, trained_on(run.data))
    run.report(start.said)
    return start


def start_facts(settings: StartConfig) -> dict[str, Any]:
    """What a training depends on that begins with the weights of a file.

    Raises:
        InputError: there is no such file.
    """
    if settings.start is None:
        return {}
    if not settings.start.is_file():
        raise InputError(f"{settings.section}.start is {settings.start}: no such file")
    return {"start": {"path": str(settings.start), "sha256": sha256(settings.start)}}


def seed_weights(seed: int) -> None:
    """Make torch's generator give the same first weights on all processes."""
    torch.manual_seed(step_seed(seed, -1))


def placed(network: N, world: World) -> N:
    """The network on this process's device, in the memory layout that suits its convolutions."""
    return network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
