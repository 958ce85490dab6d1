"""Training single networks in a run: from scratch, for a ground truth or for themselves, or from inherited weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fewshot_nas.cli.commands import command_line
from fewshot_nas.data.loader import batches_per_epoch
from fewshot_nas.evaluation.accuracy import guessing
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.manifest import recipe_sha256
from fewshot_nas.models.checkpoint import save_subnet
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import NetworkDirectory, PhaseDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.run import stand_alone_directory
from fewshot_nas.running.images import trained_on
from fewshot_nas.running.life import Training
from fewshot_nas.running.run import Run, placed, seed_weights
from fewshot_nas.space.space import Arch
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.optimizer import plain_groups, sgd
from fewshot_nas.training.stand_alone import STEADY_STEPS, GroundTruth, StandAloneResult, StandAloneTask


@dataclass(frozen=True)
class NetworkRun(Run):
    """The run of a command that trains single networks."""

    def train_network(
        self,
        section: str,
        directory: PhaseDirectory,
        start: Callable[[], StandAloneTask],
        facts: Mapping[str, Any],
        finish: Callable[[StandAloneTask], None],
    ) -> None:
        """Train a single network and measure it after each epoch; no ground truth has a part in it.

        Args:
            section: of the settings: `finetune` or `stand_alone`.
            start: makes the task, its weights included.
            facts: what the training depends on beside settings and data.
            finish: writes the result; called on rank 0 only.

        Raises:
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        self.life(directory).run(
            lambda: self.manifest(section, directory, facts),
            lambda: self.training(section, start(), self.data.train),
            lambda task, log: finish(task),
        )

    def network_task(self, section: str, network: Subnet, code: str, *, watched: bool = True) -> StandAloneTask:
        """A task for a single network; an image that cannot be read is noticed here, before the training."""
        network.trained_on = trained_on(self.data)
        settings, network = self.recipe(section), placed(network, self.world)
        return StandAloneTask(
            network,
            sgd(plain_groups(network, settings.weight_decay), settings.momentum),
            code,
            settings.label_smoothing,
            *self._measured_on,
            self.config.run.precision,
            self._calibrates(section),
            watched,
        )

    @cached_property
    def _measured_on(self) -> tuple[Inputs, Inputs]:
        """The images to rank on and to test on, decoded once for all networks of the run."""
        return self.inputs(self.data.valid), self.inputs(self.data.test)

    def _calibrates(self, section: str) -> bool:
        settings, images = self.recipe(section), len(self.data.train)
        steps = settings.epochs * batches_per_epoch(images, settings.batch_size, self.world.size)
        return steps < STEADY_STEPS

    def manifest(self, section: str, directory: PhaseDirectory, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest of every run, and whether the network is measured with calibrated statistics."""
        calibrated = {"statistics": "calibrated"} if self._calibrates(section) else {}
        return super().manifest(section, directory, {**facts, **calibrated})

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
            result = StandAloneResult(arch_id, task.code, seed, recipe, *task.measured(task.valid, task.test))
            write_json(directory.result, {"arch": task.code, "valid": result.valid, "test": result.test})
            save_subnet(directory.chosen, task.network, self.space, task.code)
            test = (
                "there are no test images" if self.data.test is self.data.valid else f"test top-1 {result.test:.2f} %"
            )
            # In one line, because a worker on another machine hands on its last line.
            doubt = no_better([result.valid], guessing(task.valid.labels)) if truth is not None else ""
            self.report(f"{arch_id}, seed {seed}: top-1 {result.valid:.2f} %, {test}" + (f"; {doubt}" if doubt else ""))
            if truth is not None:
                (add or truth.add)(result)
                return
            line = command_line("export", model=directory.chosen, out=f"{arch_id}.pt")
            self.report(f"not added to a ground truth (--ground_truth does that); `{line}` exports it")

        def start() -> Training[StandAloneTask]:
            return self.training("stand_alone", self._stand_alone_task(arch, watched=truth is None), self.data.train)

        self.life(directory).run(content, start, finish, finished)

    def stand_alone(self, arch_id: str) -> NetworkDirectory:
        """Where an arch is trained from scratch with this seed."""
        return stand_alone_directory(self.save, arch_id, self.config.run.seed)

    def stand_alone_manifest(self, arch_id: str, arch: Arch) -> dict[str, Any]:
        """What training an arch from scratch depends on."""
        return self.manifest("stand_alone", self.stand_alone(arch_id), {"arch": self.space.encode(arch)})

    def known(self, arch_id: str, arch: Arch, truth: GroundTruth, recipe: str) -> str:
        """Says that a ground truth has an arch with this seed already; empty if it has to be trained.

        Raises:
            InputError: the ground truth has another recipe, or another arch of that name.
        """
        truth.refuse_others(recipe, arch_id, self.space.encode(arch))
        known = self.resume and truth.has(arch_id, self.config.run.seed)
        return f"{arch_id} with seed {self.config.run.seed} is in {truth.path} already" if known else ""

    def _stand_alone_task(self, arch: Arch, *, watched: bool) -> StandAloneTask:
        seed_weights(self.config.run.seed)
        network = Subnet(self.space, arch, self.data.num_classes)
        return self.network_task("stand_alone", network, self.space.encode(arch), watched=watched)
