"""Training a supernet as a phase of a run, and the choice of the epoch that becomes its supernet.

The present ground truth chooses it, and again when that changes.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import command_line, named_part
from fewshot_nas.config import FewShotConfig, SupernetConfig
from fewshot_nas.data.loader import batches_per_epoch
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.ranking.correlation import FEWEST, correlate
from fewshot_nas.ranking.interval import UNDEFINED, Interval
from fewshot_nas.records.files import read_json, replacing, sha256
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.run import ONE_SHOT, run_directory
from fewshot_nas.results.scores import leading
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Begun, Training
from fewshot_nas.running.run import Run, placed
from fewshot_nas.space.pool import Entry, changed_settings, part_path, part_paths, read_arch_file
from fewshot_nas.space.space import Options, Space
from fewshot_nas.training.draws import EXTREMES, SAMPLING, Sampler, Shrinking
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.step import LOSSES, ImageSizes, Labels, Largest, Regularization, SupernetStep
from fewshot_nas.training.supernet_task import (
    Candidate,
    SupernetTask,
    Validation,
    by_metric,
    choose,
    multipliers,
    parameter_groups,
    rule,
    shared_scores,
)
from fewshot_nas.training.task import sgd


@dataclass(frozen=True)
class Truth:
    """A ground truth as it was read; empty if there is no such file."""

    path: Path
    entries: Mapping[str, Entry]
    digest: str | None

    @classmethod
    def read(cls, path: Path, space: Space) -> "Truth":
        """Read a ground truth from a file.

        Raises:
            InputError: the file is malformed, or of another space.
        """
        if not path.exists():
            return cls(path, {}, None)
        return cls(path, read_arch_file(path, space), sha256(path))

    @property
    def noted(self) -> dict[str, str] | None:
        return {"path": str(self.path), "sha256": self.digest} if self.digest else None


@dataclass(frozen=True)
class MeasuredEpoch:
    """A kept checkpoint, and how well its supernet ranks a ground truth.

    Attributes:
        scores: of the truth's archs, in percent, by metric.
    """

    candidate: Candidate
    path: Path
    tau: Interval
    scores: Mapping[str, Mapping[str, float]]


def chosen_by(directory: PhaseDirectory) -> str | None:
    """Digest of the ground truth by which a finished phase's epoch was chosen; None if there was none."""
    return read_log(directory.log).truth


def measured_epochs(directory: PhaseDirectory, truth: Truth, inputs: Inputs) -> list[MeasuredEpoch]:
    """Measure the kept checkpoints of a phase by a ground truth, in this process.

    Raises:
        InputError: a checkpoint is damaged.
    """
    return [_measured(path, truth, inputs) for path in sorted(directory.candidates(), key=_epoch)]


def _measured(path: Path, truth: Truth, inputs: Inputs) -> MeasuredEpoch:
    supernet = load_supernet(path, inputs.device)
    archs = {arch_id: entry.arch for arch_id, entry in truth.entries.items()}
    scores = by_metric(shared_scores(supernet, archs, inputs, World(0, 1, inputs.device)))
    metric, accuracy = leading(scores["top1"].values()), {key: entry.acc for key, entry in truth.entries.items()}
    tau = correlate(scores[metric], accuracy).kendall if len(archs) >= FEWEST else UNDEFINED
    return MeasuredEpoch(Candidate(_epoch(path), tau.value, tau.error, metric), path, tau, scores)


def _epoch(path: Path) -> int:
    """The number in a candidate's name, such as 17 in `0.8100_17.pth`."""
    found = re.search(r"_(\d+)\.pth$", path.name)
    assert found
    return int(found[1])


def choose_anew(directory: PhaseDirectory, epochs: Sequence[MeasuredEpoch], truth: Truth, log: RunLog) -> str:
    """Make the best of the measured epochs the phase's supernet, and name each file by its new tau.

    Returns:
        A line for the user that says what was done.
    """
    best = choose([each.candidate for each in epochs])
    renamed = {
        each.candidate: each.path.rename(directory.candidate(each.candidate.tau, each.candidate.epoch))
        for each in epochs
    }
    scores = next(each.scores for each in epochs if each.candidate == best)
    return publish(directory, best, renamed[best], truth, log, scores)


def publish(
    directory: PhaseDirectory,
    chosen: Candidate,
    path: Path,
    truth: Truth,
    log: RunLog,
    scores: Mapping[str, Any] | None = None,
) -> str:
    """Publish a choice: write it to the log, and copy its checkpoint, `path`, to the phase's supernet.

    Args:
        scores: of the truth's archs by metric, if they were measured for this choice alone.

    Returns:
        A line for the user that says what was done.
    """
    noted = {"file": path.name, **asdict(chosen), "rule": rule(chosen), "ground_truth": truth.noted}
    log.write({"chosen": {**noted, **({"scores": scores} if scores else {})}})
    with path.open("rb") as source, replacing(directory.chosen) as target:
        shutil.copyfileobj(source, target)
    return f"chose epoch {chosen.epoch + 1} ({path.name}; file names count from 0), {rule(chosen)}: {directory.chosen}"


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
        # Only options that are drawn get gradients, and the rates of rare groups follow from how often they are drawn.
        options = space.pool_options if settings.digits == "pool" else space.all_options
        kind = settings.lr_multipliers if isinstance(settings, FewShotConfig) else "none"
        supernet.trained_on = trained_on(run.data)
        factors = multipliers(supernet.split, options, kind)
        groups = parameter_groups(placed(supernet, run.world), factors, settings.weight_decay)
        draw = named_part(settings.sampling, SAMPLING, f"{section}.sampling")

        def sampler(options: Options) -> Sampler:
            ends = EXTREMES[settings.extremes](space, seed, options)
            return Sampler(draw(space, seed, options), ends, settings.random_subnets)

        # Progressive shrinking needs the number of steps, because its parts are shares of the whole training.
        steps = settings.epochs * batches_per_epoch(len(run.data.train), settings.batch_size, run.world.size)
        shrinks = settings.sampling == "shrinking"
        step = SupernetStep(
            Shrinking.of(sampler, space, options, steps) if shrinks else sampler(options),
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
