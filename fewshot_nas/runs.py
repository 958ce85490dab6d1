"""Building the parts of a run from its settings: code that the training and evaluation commands share."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.choosing import Truth, choose_anew, chosen_by, judged, settle
from fewshot_nas.cli import Report
from fewshot_nas.commands import command_line
from fewshot_nas.config import Config, DataConfig, FewShotConfig, RecipeConfig, TrainingConfig
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.fingerprints import kept_fingerprint
from fewshot_nas.data.images import FileImages, Images, calibration_subset
from fewshot_nas.data.loader import batch_share
from fewshot_nas.data.sources import ImageData, open_data
from fewshot_nas.data.store import stored
from fewshot_nas.data.transforms import eval_transform, train_transform
from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.files import read_json, write_json
from fewshot_nas.lifecycle import LifeCycle, Training
from fewshot_nas.manifest import manifest, processes, recipe_sha256, refuse_another_run
from fewshot_nas.models.checkpoint import save_subnet
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.plugins import named_part
from fewshot_nas.results import (
    ONE_SHOT,
    NetworkDirectory,
    PhaseDirectory,
    run_directory,
    stand_alone_directory,
    trainings,
)
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.pool import Entry, part_paths, read_arch_file
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.training.gradient_scale import gradient_scale
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Schedule, Source, Task, step_seed
from fewshot_nas.training.optimizer import multipliers, parameter_groups, plain_groups, sgd
from fewshot_nas.training.prioritized import Prioritized, TeacherBoard, held_out
from fewshot_nas.training.sampler import EXTREMES, SAMPLING, ImageSizes, Sampler
from fewshot_nas.training.sandwich import LOSSES, Labels, Largest, Regularization, Sandwich, Teacher
from fewshot_nas.training.stand_alone import GroundTruth, StandAloneResult, StandAloneTask, WatchedTask, outcome
from fewshot_nas.training.supernet_task import Stateful, SupernetTask, Validation

SCORED_AT_ONCE = 128  # images, where no setting says it
N = TypeVar("N", bound=nn.Module)
T = TypeVar("T", bound=Task)


def images_of(data: DataConfig) -> ImageData:
    """The data set of the settings; fingerprints that are stored are not computed again."""
    images = open_data(
        data.name,
        data.root,
        train_images=data.train_images,
        valid_images=data.valid_images,
        num_classes=data.num_classes,
    )
    for part in images.lists():
        part.take_fingerprint(kept_fingerprint(part, data.cache))
    return images


def training_images(images: Images, data: DataConfig) -> Images:
    """The images for the loop; with `data.stored_side`, photographs are decoded once and stored."""
    if data.stored_side is None or not isinstance(images, FileImages):
        return images
    return stored(images, data.stored_side, data.cache, workers=data.workers)


def open_images(config: Config, space: SearchSpace) -> ImageData:
    """The data set, checked against the space.

    Raises:
        InputError: there is no such data set, or its images do not fit the space.
    """
    images = images_of(config.data)
    if len(images.mean) != space.in_channels:
        raise InputError(
            f"the images of {config.data.name} have {len(images.mean)} channels, but space {space.name} expects"
            f" {space.in_channels}; set space.in_channels={len(images.mean)}"
        )
    _refuse_tiny(space)
    return images


def _refuse_tiny(space: SearchSpace) -> None:
    """Refuse images that are so small that a feature map would have less than a pixel."""
    least = space.stem_stride * (2 if space.stem_pool else 1) * math.prod(space.strides)
    if space.resolution < least:
        raise InputError(
            f"space.resolution is {space.resolution}, expected at least {least}, because the strides of space"
            f" {space.name} make an image {least} times smaller"
        )


def evaluation_inputs(
    config: Config, space: SearchSpace, data: ImageData, scored: Images, world: World, *, decode: bool = True
) -> Inputs:
    """The inputs of an evaluation: calibration images from the training part, and the images to score on.

    Args:
        decode: False gives tensors of the images' shape without memory, enough to plan with.

    Raises:
        InputError: there are fewer training images than the calibration takes.
    """
    settings = config.evaluation
    if settings.calibration_images > len(data.train):
        raise InputError(
            f"evaluation.calibration_images is {settings.calibration_images},"
            f" expected at most the {len(data.train)} training images"
        )
    # All runs use one seed here, so that runs of different seeds differ in their training only.
    calibration = calibration_subset(data.train, settings.calibration_images, seed=0)
    return Inputs(
        _pixels(config, space, data, calibration, decode=decode),
        settings.calibration_batch,
        _pixels(config, space, data, scored, decode=decode),
        scored.labels,
        settings.batch_size or SCORED_AT_ONCE,
        data.mean,
        data.std,
        world.device,
        config.run.precision,
    )


def with_classifier_images(
    config: Config, space: SearchSpace, data: ImageData, inputs: Inputs, *, decode: bool = True
) -> Inputs:
    """Inputs with the training images that each subnet's own classifier is fitted to, if the settings ask for it.

    They begin with the calibration images.

    Raises:
        InputError: there are not so many.
    """
    count = config.evaluation.classifier_images
    if not count:
        return inputs
    if count > len(data.train):
        raise InputError(
            f"evaluation.classifier_images is {count}, expected at most the {len(data.train)} training images"
        )
    chosen = calibration_subset(data.train, count, seed=0)
    return replace(inputs, fitting=_pixels(config, space, data, chosen, decode=decode), fitting_labels=chosen.labels)


def _pixels(config: Config, space: SearchSpace, data: ImageData, images: Images, *, decode: bool) -> Tensor:
    """Images of the space's size, uint8 [N, C, R, R]; without memory if they are not to be decoded."""
    if decode:
        transform = eval_transform(data.recipe, space.resolution)
        return decoded(images, transform, config.data.cache, workers=config.data.workers)
    shape = (len(images), space.in_channels, space.resolution, space.resolution)
    return torch.empty(shape, dtype=torch.uint8, device="meta")


@dataclass(frozen=True)
class Run:
    """A training command's run: its settings, and the parts that are built from them.

    Attributes:
        save: the run's name.
        resume: whether to continue an unfinished run of the same name.
        report: shows a line to the user.
    """

    save: str
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
        data = open_images(self.config, self.space)
        for note in data.notes:
            self.report(note)
        return data

    def inputs(self, scored: Images) -> Inputs:
        """The inputs of an evaluation, see `evaluation_inputs`."""
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
        truth = Truth.read(self.config.truth_path(self.save), self.space)

        def content() -> dict[str, Any]:
            if not truth.entries:
                self.report(f"{truth.path}: no such file, so there is no tau; the last epoch will be chosen")
            self._look_at_pool(section)
            return self._manifest(section, directory, {**facts, "ground_truth": truth.noted})

        def training() -> Training[SupernetTask]:
            return self._training(section, *self._supernet_task(section, directory, start(), truth.entries))

        def finished(going_on: bool) -> str:
            return self._finished(directory, truth) if going_on and directory.chosen.exists() else ""

        def finish(task: SupernetTask, log: RunLog) -> None:
            begun_with = read_json(directory.manifest).get("ground_truth") or {}
            if begun_with.get("sha256") == truth.digest:
                chosen = task.chosen()
                self.report(settle(directory, chosen, task.file_of(chosen), truth, log))
            else:  # taus by different truths cannot be compared
                self.report(choose_anew(directory, judged(directory, truth, task.validation.inputs), truth, log))

        self._life(directory).run(content, training, finish, finished)

    def _look_at_pool(self, section: str) -> None:
        """Say what an evaluation would stumble over, while it can still be changed."""
        settings, pool = self._settings(section), self.config.run.pool_path
        assert isinstance(settings, TrainingConfig)
        try:
            archs = read_arch_file(part_paths(pool, self.space)[0], self.space)
        except InputError as error:
            self.report(f"training needs no pool, but its evaluation will: {error}")
            return
        if settings.digits == "all":
            return
        outside = [arch_id for arch_id, entry in archs.items() if not self.space.in_pool(entry.arch)]
        if outside:
            self.report(
                f"{pool}: {outside[0]} has digits that are never trained, for space.pool_digits is"
                f" {list(self.space.pool_digits)}; set {section}.digits=all, or make another pool"
            )

    def _finished(self, directory: PhaseDirectory, truth: Truth) -> str:
        said = f"{directory.chosen} is there already; --no-resume trains it anew"
        if chosen_by(directory) == truth.digest or not truth.digest:
            return said
        stage = ONE_SHOT.name if directory.path == run_directory(self.save) else directory.path.name
        anew = command_line("choose", save=self.save, stage=stage)
        return f"{said}; its epoch was chosen before {truth.path} was as it is now, `{anew}` chooses by it"

    def train_network(
        self,
        section: str,
        directory: PhaseDirectory,
        start: Callable[[], WatchedTask],
        facts: Mapping[str, Any],
        finish: Callable[[WatchedTask], None],
    ) -> None:
        """Train a single network and measure it after each epoch; no ground truth has a part in it.

        Args:
            section: of the settings: `finetune` or `stand_alone`.
            start: makes the task, its weights included.
            facts: what the training depends on beside settings and data.
            finish: writes the result; called on the main process only.

        Raises:
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        self._life(directory).run(
            lambda: self._manifest(section, directory, facts),
            lambda: self._training(section, start(), self.data.train),
            lambda task, log: finish(task),
        )

    def network_task(self, section: str, network: Subnet, code: str) -> WatchedTask:
        """A task of `train_network`."""
        settings, network = self._settings(section), placed(network, self.world)
        optimizer = sgd(plain_groups(network, settings.weight_decay), settings.momentum)
        smoothing, precision = settings.label_smoothing, self.config.run.precision
        return WatchedTask(network, optimizer, code, smoothing, precision, valid=self.inputs(self.data.valid))

    def train_stand_alone(
        self,
        arch_id: str,
        arch: Arch,
        truth: GroundTruth | None,
        add: Callable[[StandAloneResult], None] | None = None,
    ) -> None:
        """Train one subnet from scratch and keep it; add it to a ground truth that does not have it with this seed.

        Args:
            truth: None for a network that is trained for its own sake.
            add: takes the result; by default `truth.add`.

        Raises:
            BusyError: another process is at work on it.
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        seed, recipe, directory = self.config.run.seed, "", self.stand_alone(arch_id)

        def content() -> dict[str, Any]:
            nonlocal recipe
            written = self.stand_alone_manifest(arch_id, arch)
            recipe = recipe_sha256(written)
            return written

        def finished(going_on: bool) -> str:
            if truth is not None:
                return self.known(arch_id, arch, truth, recipe)
            known = going_on and directory.chosen.exists()
            return f"{directory.chosen} is there already; --no-resume trains it anew" if known else ""

        def finish(task: StandAloneTask, log: RunLog) -> None:
            result = outcome(task, arch_id, seed, recipe, self.inputs(self.data.valid), self.inputs(self.data.test))
            write_json(directory.result, {"arch": task.code, "valid": result.valid, "test": result.test})
            save_subnet(directory.chosen, task.network, self.space, task.code)
            test = "there are no test images" if self.data.test is self.data.valid else f"test {result.test:.2f} %"
            self.report(f"{arch_id}, seed {seed}: {result.valid:.2f} %, {test}")
            if truth is not None:
                (add or truth.add)(result)
                return
            line = command_line("export", model=directory.chosen, out=f"{arch_id}.pt")
            self.report(f"not added to a ground truth (--ground_truth does that); `{line}` exports it")

        def start() -> Training[StandAloneTask]:
            return self._training("stand_alone", self._stand_alone_task(arch), self.data.train)

        self._life(directory).run(content, start, finish, finished)

    def stand_alone(self, arch_id: str) -> NetworkDirectory:
        """Where an arch is trained from scratch with this seed."""
        return stand_alone_directory(self.save, arch_id, self.config.run.seed)

    def stand_alone_manifest(self, arch_id: str, arch: Arch) -> dict[str, Any]:
        """What training an arch from scratch depends on."""
        return self._manifest("stand_alone", self.stand_alone(arch_id), {"arch": self.space.encode(arch)})

    def known(self, arch_id: str, arch: Arch, truth: GroundTruth, recipe: str) -> str:
        """Says that a ground truth has an arch with this seed already; empty if it has to be trained.

        Raises:
            InputError: the ground truth has another recipe, or another arch of that name.
        """
        truth.refuse_others(recipe, arch_id, self.space.encode(arch))
        known = self.resume and truth.has(arch_id, self.config.run.seed)
        return f"{arch_id} with seed {self.config.run.seed} is in {truth.path} already" if known else ""

    def _life(self, directory: PhaseDirectory) -> LifeCycle:
        return LifeCycle(directory, self.config, self.world, self.resume, self.report)

    def _manifest(self, section: str, directory: PhaseDirectory, facts: Mapping[str, Any]) -> dict[str, Any]:
        # What cannot be trained is refused before it is noted as begun with.
        settings = self._settings(section)
        if settings.warmup_epochs > settings.epochs:
            raise InputError(
                f"{section}.warmup_epochs is {settings.warmup_epochs}, expected at most {section}.epochs, which is"
                f" {settings.epochs}"
            )
        images, batch = len(self.data.train), settings.batch_size
        batch_share(images, batch, self.world.size)
        if batch > images:
            self.report(f"{section}.batch_size is {batch}, but there are {images} training images: each step takes all")
        data = data_facts(self.data, self.config.data)
        written = manifest(self.config, section, {**processes(self.world.size), **facts, "data": data})
        others = (each.manifest for each in trainings(self.save) if each.path != directory.path)
        refuse_another_run(others, written)
        return written

    def _supernet_task(
        self, section: str, directory: PhaseDirectory, supernet: Supernet, truth: Mapping[str, Entry]
    ) -> tuple[SupernetTask, Images]:
        """A phase and what it trains on."""
        config, settings = self.config, self._settings(section)
        assert isinstance(settings, TrainingConfig)
        digits = self.space.pool_digits if settings.digits == "pool" else self.space.all_digits
        kind = settings.lr_multipliers if isinstance(settings, FewShotConfig) else "none"
        factors = multipliers(supernet.split, digits, kind)
        groups = parameter_groups(placed(supernet, self.world), factors, settings.weight_decay)
        teacher, images, memory = self._teacher(settings, supernet, digits)
        seed, middle = config.run.seed, settings.random_subnets
        drawn = named_part(settings.sampling, SAMPLING, f"{section}.sampling")(self.space, seed, digits)
        sampler = Sampler(drawn, EXTREMES[settings.extremes](self.space, seed, digits), middle)
        sandwich = Sandwich(
            sampler,
            ImageSizes(seed, middle, settings.resolutions),
            teacher,
            named_part(settings.loss, LOSSES, f"{section}.loss")(),
            regularization=Regularization(settings.label_smoothing, settings.dropout, settings.drop_connect),
            precision=config.run.precision,
        )
        every = config.evaluation.every_epochs
        validation = Validation(self.inputs(self.data.valid), truth, directory, config.run.keep, every, settings.epochs)
        optimizer = sgd(groups, settings.momentum)
        if settings.gradient_scale != "none":
            optimizer.register_step_pre_hook(gradient_scale(supernet, sampler.chances(), settings.gradient_scale))
        return SupernetTask(supernet, optimizer, sandwich, digits, validation, self.world, memory), images

    def _teacher(
        self, settings: TrainingConfig, supernet: Supernet, digits: Sequence[int]
    ) -> tuple[Teacher, Images, dict[str, Stateful]]:
        """Who teaches, the images that are left to train on, and what the teaching remembers."""
        if settings.distill != "prioritized":
            return (Labels() if settings.distill == "none" else Largest()), self.data.train, {}
        images, held = held_out(self.data.train)
        board = TeacherBoard(self.space, supernet.num_classes, digits)
        return Prioritized(board, replace(self.inputs(held), batch=len(held)), self.world), images, {"board": board}

    def _stand_alone_task(self, arch: Arch) -> StandAloneTask:
        config, settings = self.config, self.config.stand_alone
        seed_weights(config.run.seed)
        network = placed(Subnet(self.space, arch, self.data.num_classes), self.world)
        optimizer = sgd(plain_groups(network, settings.weight_decay), settings.momentum)
        return StandAloneTask(
            network, optimizer, self.space.encode(arch), settings.label_smoothing, config.run.precision
        )

    def _training(self, section: str, task: T, images: Images) -> Training[T]:
        """A task with its images and its schedule."""
        settings, config, data = self._settings(section), self.config, self.data
        schedule = Schedule(
            settings.epochs,
            settings.warmup_epochs,
            settings.batch_size,
            settings.lr,
            settings.clip_value,
            config.run.seed,
            config.run.checkpoint_steps,
        )
        transform = train_transform(config.data.augmentation or data.recipe, self.space.resolution)
        source = Source(training_images(images, config.data), transform, data.mean, data.std, config.data.workers)
        return Training(task, source, schedule)

    def _settings(self, section: str) -> RecipeConfig:
        settings = getattr(self.config, section)
        assert isinstance(settings, RecipeConfig)
        return settings


def seed_weights(seed: int) -> None:
    """Make torch's generator give the same first weights on all processes."""
    torch.manual_seed(step_seed(seed, -1, 0))


def placed(network: N, world: World) -> N:
    """The network on this process's device, in the memory layout that suits its convolutions."""
    return network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def data_facts(data: ImageData, settings: DataConfig) -> dict[str, Any]:
    """Facts about a run's images and their augmentation; earlier versions augmented photographs differently."""
    parts = {"train": data.train, "valid": data.valid}
    photo = (settings.augmentation or data.recipe) == "photo"
    known = {"photo_augmentation": "in one resampling"} if photo else {}
    return (
        known
        | {"name": data.name, "num_classes": data.num_classes}
        | {part: {"images": len(images), "fingerprint": images.fingerprint} for part, images in parts.items()}
    )
