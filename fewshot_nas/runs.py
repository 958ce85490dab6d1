"""From settings to the parts of a run: what the training and evaluation commands have in common."""

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.cli import Report
from fewshot_nas.config import Config, DataConfig, FewShotConfig, RecipeConfig, TrainingConfig, dump_config
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.fingerprints import kept_fingerprint
from fewshot_nas.data.images import FileImages, Images, calibration_subset
from fewshot_nas.data.loader import batch_share
from fewshot_nas.data.sources import ImageData, open_data
from fewshot_nas.data.store import stored
from fewshot_nas.data.transforms import CentreCrop, eval_transform, train_transform
from fewshot_nas.distributed import World, decided, gathered
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.files import locked, replacing, sha256
from fewshot_nas.manifest import begin, goes_on, manifest, processes, recipe_sha256
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.results import PhaseDirectory
from fewshot_nas.space.arch import Arch, encode
from fewshot_nas.space.pool import Entry, read_arch_file
from fewshot_nas.space.sampling import ALL_DIGITS
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Loop, Plan, Source, Task, step_seed
from fewshot_nas.training.optimizer import multipliers, parameter_groups, plain_groups, sgd
from fewshot_nas.training.prioritized import Prioritized, TeacherBoard, held_out
from fewshot_nas.training.sandwich import Regularization, Sampler
from fewshot_nas.training.selection import RULE
from fewshot_nas.training.stand_alone import GroundTruth, StandAloneTask, outcome
from fewshot_nas.training.supernet_task import SupernetTask, Validation

N = TypeVar("N", bound=nn.Module)


def images_of(data: DataConfig, world: World | None = None) -> ImageData:
    """The data set of the settings; rank 0 alone looks at every file's size, and tells."""
    world = world or World.alone()
    images = open_data(
        data.name,
        data.root,
        train_images=data.train_images,
        valid_images=data.valid_images,
        num_classes=data.num_classes,
    )
    for part in images.lists():
        part.take_fingerprint(decided(partial(kept_fingerprint, part, data.cache), world))
    return images


def decoded_once(images: Images, transform: CentreCrop, data: DataConfig, world: World) -> Tensor:
    """As `decoded`; rank 0 decodes, the others wait. All processes have to call it."""
    work = partial(decoded, images, transform, data.cache, workers=data.workers)
    if not isinstance(images, FileImages):
        return work()
    decided(lambda: len(work()), world)
    return work()


def training_images(images: Images, data: DataConfig, world: World) -> Images:
    """The images as the loop reads them: from `data.stored_side` on, decoded beforehand by rank 0."""
    if data.stored_side is None or not isinstance(images, FileImages):
        return images
    work = partial(stored, images, data.stored_side, data.cache, workers=data.workers)
    decided(lambda: len(work()), world)
    return work()


def open_images(config: Config, space: SearchSpace, world: World | None = None) -> ImageData:
    """The data set, checked against the space.

    Raises:
        InputError: there is no such data, or its images have another number of channels.
    """
    images = images_of(config.data, world)
    if len(images.mean) != space.in_channels:
        raise InputError(
            f"the images of {config.data.name} have {len(images.mean)} channels, but space {space.name} expects"
            f" {space.in_channels}; set space.in_channels={len(images.mean)}"
        )
    _refuse_tiny(space)
    return images


def _refuse_tiny(space: SearchSpace) -> None:
    """Images that are a pixel before the last stride."""
    least = space.stem_stride * (2 if space.stem_pool else 1) * math.prod(space.strides)
    if space.resolution < least:
        raise InputError(
            f"space.resolution is {space.resolution}, expected at least {least}, for the strides of space {space.name}"
            f" make an image {least} times smaller"
        )


def evaluation_inputs(config: Config, space: SearchSpace, data: ImageData, scored: Images, world: World) -> Inputs:
    """Calibration images from the training part, and the images to score on."""
    settings, transform = config.evaluation, eval_transform(data.recipe, space.resolution)
    if settings.calibration_images > len(data.train):
        raise InputError(
            f"evaluation.calibration_images is {settings.calibration_images},"
            f" expected at most the {len(data.train)} training images"
        )
    # One seed for all: runs with other seeds must differ in their training only.
    calibration = calibration_subset(data.train, settings.calibration_images, seed=0)
    calibration_pixels, scored_pixels = (
        decoded_once(images, transform, config.data, world) for images in (calibration, scored)
    )
    return Inputs(
        calibration_pixels,
        settings.calibration_batch,
        scored_pixels,
        scored.labels,
        settings.batch_size,
        data.mean,
        data.std,
        world.device,
        config.run.precision,
    )


@dataclass(frozen=True)
class Run:
    """What a training command works with, whatever it trains.

    Attributes:
        resume: whether to go on with an unfinished run of the same name.
        report: takes lines for a person.
    """

    config: Config
    world: World
    resume: bool
    report: Report

    @cached_property
    def space(self) -> SearchSpace:
        """The space of the settings."""
        return self.config.space.build()

    @cached_property
    def data(self) -> ImageData:
        """The data set of the settings."""
        data = open_images(self.config, self.space, self.world)
        for note in data.notes:
            self.report(note)
        return data

    def inputs(self, scored: Images) -> Inputs:
        """As `evaluation_inputs`."""
        return evaluation_inputs(self.config, self.space, self.data, scored, self.world)

    def train_phase(
        self, section: str, directory: PhaseDirectory, start: Callable[[], Supernet], facts: Mapping[str, Any]
    ) -> None:
        """Train a supernet as one phase and choose its checkpoint.

        Args:
            section: of the settings: `training` or `few_shot`.
            start: makes the supernet that the phase starts from.
            facts: what the phase depends on beside settings and data.

        Raises:
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        truth = self._truth()
        with exclusive(directory, self.world):
            facts = {**facts, "ground_truth": truth and _file(self.config.run.ground_truth)}
            content = self._manifest(section, facts)
            going_on = goes_on(directory, content, self.resume)
            if going_on and directory.chosen.exists():
                self.report(f"{directory.chosen} is there already; --no-resume trains it anew")
                return
            if not going_on:
                begin(directory, content, dump_config(self.config), self.world)
            task, images = self._supernet_task(section, directory, start(), truth)
            with RunLog(directory.log, directory.events) as log:
                self._loop(task, images, section, directory, log).run()
                if self.world.is_main:
                    self._choose(task, directory, log)

    def train_stand_alone(self, arch_id: str, arch: Arch, directory: PhaseDirectory, truth: GroundTruth) -> None:
        """Train one subnet from scratch and add it to a ground truth that does not have it with this seed.

        A run that another process is at work on is left to it, so that several processes can
        share a list of archs.

        Raises:
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        seed = self.config.run.seed
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(directory, self.world))
                busy = None
            except InputError as error:
                busy = str(error)
            if busy := gathered(busy, self.world)[0]:
                self.report(f"{arch_id} is left out: {busy}")
                return
            content = self._manifest("stand_alone", {"arch": encode(arch)})
            going_on = goes_on(directory, content, self.resume)  # names a changed setting, which a digest cannot
            recipe = recipe_sha256(content)
            truth.refuse_others(recipe, arch_id, arch)
            if self.resume and truth.has(arch_id, seed):
                self.report(f"{arch_id} with seed {seed} is in {truth.path} already")
                return
            if not going_on:
                begin(directory, content, dump_config(self.config), self.world)
            task = self._stand_alone_task(arch)
            with RunLog(directory.log, directory.events) as log:
                self._loop(task, self.data.train, "stand_alone", directory, log).run()
            inputs = self.inputs(self.data.valid), self.inputs(self.data.test)
            if self.world.is_main:
                result = outcome(task, arch_id, seed, recipe, *inputs)
                truth.add(result)
                self.report(f"{arch_id}, seed {seed}: {result.valid:.2f} %, test {result.test:.2f} %")

    def _manifest(self, section: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        # What cannot be trained is refused before it is noted as begun with.
        images, batch = len(self.data.train), self._settings(section).batch_size
        batch_share(images, batch, self.world.size)
        if batch > images:
            self.report(f"{section}.batch_size is {batch}, but there are {images} training images: each step takes all")
        return manifest(
            self.config, section, {**processes(self.world), **facts, "data": data_facts(self.data, self.config.data)}
        )

    def _supernet_task(
        self, section: str, directory: PhaseDirectory, supernet: Supernet, truth: Mapping[str, Entry]
    ) -> tuple[SupernetTask, Images]:
        """A phase and what it trains on."""
        config, settings = self.config, self._settings(section)
        assert isinstance(settings, TrainingConfig)
        digits = self.space.pool_digits if settings.digits == "pool" else ALL_DIGITS
        kind = settings.lr_multipliers if isinstance(settings, FewShotConfig) else "none"
        factors = multipliers(self.space, supernet.groups, digits, kind)
        groups = parameter_groups(placed(supernet, self.world), factors, settings.weight_decay)
        fair, outs = settings.sampling == "fair", settings.extremes == "outs"
        images, prioritized = self.data.train, None
        if settings.distill == "prioritized":
            held, images = held_out(images)
            board = TeacherBoard(self.space, supernet.num_classes, digits)
            prioritized = Prioritized(board, replace(self.inputs(held), batch=len(held)), self.world)
        task = SupernetTask(
            supernet,
            sgd(groups, settings.momentum),
            Sampler(config.run.seed, digits, fair, settings.random_subnets, settings.resolutions, outs),
            Regularization(settings.label_smoothing, settings.dropout, settings.drop_connect),
            Validation(
                self.inputs(self.data.valid),
                truth,
                directory,
                config.run.keep,
                config.evaluation.every_epochs,
                settings.epochs,
            ),
            self.world,
            config.run.precision,
            prioritized,
            settings.distill != "none",
        )
        return task, images

    def _stand_alone_task(self, arch: Arch) -> StandAloneTask:
        config, settings = self.config, self.config.stand_alone
        seed_weights(config.run.seed)
        network = placed(Subnet(self.space, arch, self.data.num_classes), self.world)
        optimizer = sgd(plain_groups(network, settings.weight_decay), settings.momentum)
        return StandAloneTask(network, optimizer, arch, settings.label_smoothing, config.run.precision)

    def _loop(self, task: Task, images: Images, section: str, directory: PhaseDirectory, log: RunLog) -> Loop:
        """The loop, where it was stopped."""
        settings, config, data = self._settings(section), self.config, self.data
        plan = Plan(
            settings.epochs,
            settings.warmup_epochs,
            settings.batch_size,
            settings.lr,
            settings.clip_value,
            config.run.seed,
            config.run.checkpoint_steps,
        )
        transform = train_transform(config.data.augmentation or data.recipe, self.space.resolution)
        images = training_images(images, config.data, self.world)
        source = Source(images, transform, data.mean, data.std, config.data.workers)
        return resumed(Loop(task, source, plan, directory.last, log, self.world, self.report), self.report)

    def _settings(self, section: str) -> RecipeConfig:
        settings = getattr(self.config, section)
        assert isinstance(settings, RecipeConfig)
        return settings

    def _truth(self) -> dict[str, Entry]:
        """The ground truth, or nothing where there is no such file, which is said."""
        path = self.config.run.ground_truth
        if path.exists():
            return read_arch_file(path)
        self.report(f"{path}: no such file, so there is no tau; the last epoch will be chosen")
        return {}

    def _choose(self, task: SupernetTask, directory: PhaseDirectory, log: RunLog) -> None:
        chosen = task.chosen()
        path = task.file_of(chosen)
        log.write({"chosen": {"file": path.name, **asdict(chosen), "rule": RULE}})
        with path.open("rb") as source, replacing(directory.chosen) as target:
            shutil.copyfileobj(source, target)
        self.report(f"chose {path.name}, {RULE}: {directory.chosen}")


def seed_weights(seed: int) -> None:
    """Make torch's generator give the same first weights on all processes."""
    torch.manual_seed(step_seed(seed, -1, 0))


def placed(network: N, world: World) -> N:
    """A network on this process's device, laid out for its convolutions."""
    return network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def resumed(loop: Loop, report: Report) -> Loop:
    """A loop, where it was stopped."""
    loop.resume()
    if loop.step:
        report(f"continuing {loop.last.parent} at step {loop.step} of {loop.steps}")
    return loop


def exclusive(directory: PhaseDirectory, world: World) -> AbstractContextManager[None]:
    """Keep a second run of the same name out."""
    return locked(directory.lock, wait=False) if world.is_main else nullcontext()


def data_facts(data: ImageData, settings: DataConfig) -> dict[str, Any]:
    """Which images a run has seen, and how photographs were augmented, which was once done differently."""
    parts = {"train": data.train, "valid": data.valid}
    photo = (settings.augmentation or data.recipe) == "photo"
    known = {"photo_augmentation": "in one resampling"} if photo else {}
    return (
        known
        | {"name": data.name, "num_classes": data.num_classes}
        | {part: {"images": len(images), "fingerprint": images.fingerprint} for part, images in parts.items()}
    )


def _file(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": sha256(path)}
