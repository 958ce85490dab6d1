"""Training a supernet as a phase of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fewshot_nas.cli.commands import command_line
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.plugins import named_part
from fewshot_nas.config import FewShotConfig, TrainingConfig
from fewshot_nas.data.images import Images
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import ONE_SHOT, run_directory
from fewshot_nas.running.choosing import Truth, choose_anew, chosen_by, measured_epochs, publish
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Training
from fewshot_nas.running.run import Run, placed
from fewshot_nas.space.pool import Entry, changed_settings, part_path, part_paths, read_arch_file
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.optimizer import multipliers, parameter_groups, sgd
from fewshot_nas.training.step import (
    EXTREMES,
    LOSSES,
    SAMPLING,
    ImageSizes,
    Labels,
    Largest,
    Regularization,
    Sampler,
    Step,
)
from fewshot_nas.training.supernet_task import SupernetTask, Validation


@dataclass(frozen=True)
class SupernetRun(Run):
    """The run of a command that trains a supernet."""

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
            written = self.manifest(section, directory, {**facts, "ground_truth": truth.noted})
            if not truth.entries:
                self.report(f"{truth.path}: no such file, so there is no tau; the last epoch will be chosen")
            self._look_at_pool(section)
            return written

        def training() -> Training[SupernetTask]:
            return self.training(section, *self._supernet_task(section, directory, start(), truth.entries))

        def finished(going_on: bool) -> str:
            return self._finished(directory, truth) if going_on and directory.chosen.exists() else ""

        def finish(task: SupernetTask, log: RunLog) -> None:
            begun_with = read_json(directory.manifest).get("ground_truth") or {}
            if begun_with.get("sha256") == truth.digest:
                chosen = task.chosen()
                self.report(publish(directory, chosen, task.file_of(chosen), truth, log))
            else:  # taus by different truths cannot be compared
                self.report(
                    choose_anew(directory, measured_epochs(directory, truth, task.validation.inputs), truth, log)
                )

        self.life(directory).run(content, training, finish, finished)

    def _look_at_pool(self, section: str) -> None:
        """Say what an evaluation would stumble over, while it can still be changed."""
        settings, pool = self.recipe(section), self.config.run.pool_path
        assert isinstance(settings, TrainingConfig)
        try:
            archs = read_arch_file(part_paths(pool, self.space)[0], self.space)
        except InputError as error:
            self.report(f"training needs no pool, but its evaluation will: {error}")
            if part_path(pool, 1).exists():
                out = f"json_file/{self.space.name.replace(' ', '_')}"
                make = command_line("make_pool", *changed_settings(self.space), out=out)
                self.report(f"`{make}` makes a pool of space {self.space.name}; run.pool={out} names it")
            return
        if settings.digits == "all":
            return
        outside = [arch_id for arch_id, entry in archs.items() if not self.space.in_pool(entry.arch)]
        if outside:
            self.report(
                f"{pool}: {outside[0]} has options that are never trained, because they are not the pool's of space"
                f" {self.space.name}; set {section}.digits=all, or make another pool"
            )

    def _finished(self, directory: PhaseDirectory, truth: Truth) -> str:
        said = f"{directory.chosen} is there already; --no-resume trains it anew"
        if chosen_by(directory) == truth.digest or not truth.digest:
            return said
        stage = ONE_SHOT.name if directory.path == run_directory(self.save) else directory.path.name
        named = self.config.run.ground_truth
        anew = command_line("choose", *([f"run.ground_truth={named}"] if named else []), save=self.save, phase=stage)
        return f"{said}; its epoch was chosen before {truth.path} was as it is now, `{anew}` chooses by it"

    def _supernet_task(
        self, section: str, directory: PhaseDirectory, supernet: Supernet, truth: Mapping[str, Entry]
    ) -> tuple[SupernetTask, Images]:
        """A phase and what it trains on."""
        config, settings = self.config, self.recipe(section)
        assert isinstance(settings, TrainingConfig)
        options = self.space.pool_options if settings.digits == "pool" else self.space.all_options
        kind = settings.lr_multipliers if isinstance(settings, FewShotConfig) else "none"
        supernet.trained_on = trained_on(self.data)
        factors = multipliers(supernet.split, options, kind)
        groups = parameter_groups(placed(supernet, self.world), factors, settings.weight_decay)
        seed, middle = config.run.seed, settings.random_subnets
        drawn = named_part(settings.sampling, SAMPLING, f"{section}.sampling")(self.space, seed, options)
        sampler = Sampler(drawn, EXTREMES[settings.extremes](self.space, seed, options), middle)
        step = Step(
            sampler,
            ImageSizes(seed, settings.resolutions, ends=settings.extremes != "none"),
            Largest() if settings.distill == "sandwich" else Labels(),
            named_part(settings.loss, LOSSES, f"{section}.loss")(),
            Regularization(settings.label_smoothing, settings.dropout, settings.drop_connect),
            config.run.precision,
        )
        every = config.evaluation.every_epochs
        validation = Validation(self.inputs(self.data.valid), truth, directory, config.run.keep, every, settings.epochs)
        optimizer = sgd(groups, settings.momentum)
        task = SupernetTask(
            network=supernet, optimizer=optimizer, step=step, world=self.world, options=options, validation=validation
        )
        return task, self.data.train
