"""Training a supernet as a phase of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fewshot_nas.cli.commands import command_line
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.plugins import named_part
from fewshot_nas.config import FewShotConfig, SupernetConfig
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json
from fewshot_nas.results.run import ONE_SHOT, run_directory
from fewshot_nas.running.choosing import Truth, choose_anew, chosen_by, measured_epochs, publish
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Begun, Training
from fewshot_nas.running.run import Run, placed
from fewshot_nas.space.pool import changed_settings, part_path, part_paths, read_arch_file
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
    SupernetStep,
)
from fewshot_nas.training.supernet_task import SupernetTask, Validation


@dataclass(frozen=True, kw_only=True)
class SupernetTraining(Training[SupernetTask]):
    """A supernet that is trained as one phase, and the choice of its checkpoint.

    Attributes:
        settings: how to train: `training` or `few_shot`.
        start: makes the supernet that the phase starts from.
        facts: what the phase depends on beside settings and data.
    """

    run: Run
    settings: SupernetConfig
    start: Callable[[], Supernet]
    facts: Mapping[str, Any]

    @cached_property
    def truth(self) -> Truth:
        """The ground truth as it is now."""
        return Truth.read(self.run.config.truth_path(self.run.save), self.run.space)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the phase depends on; says what an evaluation would lack."""
        facts = {**self.facts, "ground_truth": self.truth.noted}
        written = self.run.manifest(self.settings, self.directory, facts)
        if not self.truth.entries:
            self.run.report(f"{self.truth.path}: no such file, so there is no tau; the last epoch will be chosen")
        self._look_at_pool()
        return written

    def begin(self) -> Begun[SupernetTask]:
        """The phase's task, and the images that it trains on."""
        return self.run.begun(self.settings, self.task(self.start()), self.run.data.train)

    def finish(self, task: SupernetTask, log: RunLog) -> None:
        """Choose the checkpoint that becomes the phase's supernet."""
        begun_with = read_json(self.directory.manifest).get("ground_truth") or {}
        if begun_with.get("sha256") == self.truth.digest:
            chosen = task.chosen()
            self.run.report(publish(self.directory, chosen, task.file_of(chosen), self.truth, log))
        else:  # taus by different truths cannot be compared
            epochs = measured_epochs(self.directory, self.truth, task.validation.inputs)
            self.run.report(choose_anew(self.directory, epochs, self.truth, log))

    def _look_at_pool(self) -> None:
        """Say what an evaluation would stumble over, while it can still be changed."""
        settings, pool, space, report = self.settings, self.run.config.run.pool_path, self.run.space, self.run.report
        try:
            archs = read_arch_file(part_paths(pool, space)[0], space)
        except InputError as error:
            report(f"training needs no pool, but its evaluation will: {error}")
            if part_path(pool, 1).exists():
                out = f"json_file/{space.name.replace(' ', '_')}"
                make = command_line("make_pool", *changed_settings(space), out=out)
                report(f"`{make}` makes a pool of space {space.name}; run.pool={out} names it")
            return
        if settings.digits == "all":
            return
        outside = [arch_id for arch_id, entry in archs.items() if not space.in_pool(entry.arch)]
        if outside:
            report(
                f"{pool}: {outside[0]} has options that are never trained, because they are not the pool's of space"
                f" {space.name}; set {settings.section}.digits=all, or make another pool"
            )

    def finished(self, going_on: bool) -> str:
        """Says that the phase is finished, and how to choose by a truth that is new."""
        said, directory, truth = super().finished(going_on), self.directory, self.truth
        if not said or chosen_by(directory) == truth.digest or not truth.digest:
            return said
        save, named = self.run.save, self.run.config.run.ground_truth
        stage = ONE_SHOT.name if directory.path == run_directory(save) else directory.path.name
        anew = command_line("choose", *([f"run.ground_truth={named}"] if named else []), save=save, phase=stage)
        return f"{said}; its epoch was chosen before {truth.path} was as it is now, `{anew}` chooses by it"

    def task(self, supernet: Supernet) -> SupernetTask:
        run, config, settings = self.run, self.run.config, self.settings
        space, seed, section = run.space, config.run.seed, settings.section
        options = space.pool_options if settings.digits == "pool" else space.all_options
        kind = settings.lr_multipliers if isinstance(settings, FewShotConfig) else "none"
        supernet.trained_on = trained_on(run.data)
        factors = multipliers(supernet.split, options, kind)
        groups = parameter_groups(placed(supernet, run.world), factors, settings.weight_decay)
        draw = named_part(settings.sampling, SAMPLING, f"{section}.sampling")
        ends = EXTREMES[settings.extremes](space, seed, options)
        step = SupernetStep(
            Sampler(draw(space, seed, options), ends, settings.random_subnets),
            ImageSizes(seed, settings.resolutions, ends=settings.extremes != "none"),
            Largest() if settings.distill == "sandwich" else Labels(),
            named_part(settings.loss, LOSSES, f"{section}.loss")(),
            Regularization(settings.label_smoothing, settings.dropout, settings.drop_connect),
            config.run.precision,
        )
        every = config.evaluation.every_epochs
        validation = Validation(run.valid, self.truth.entries, self.directory, config.run.keep, every, settings.epochs)
        optimizer = sgd(groups, settings.momentum)
        return SupernetTask(
            network=supernet, optimizer=optimizer, step=step, world=run.world, options=options, validation=validation
        )
