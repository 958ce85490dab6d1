"""Training single networks in a run: from scratch, for a ground truth or for themselves, or from inherited weights.

A ground truth is gathered from the results of such trainings.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from fewshot_nas.cli.errors import BusyError, InputError
from fewshot_nas.cli.main import Pace
from fewshot_nas.cli.names import command_line
from fewshot_nas.config import RecipeConfig
from fewshot_nas.data.loader import batches_per_epoch
from fewshot_nas.evaluation.inputs import guessing
from fewshot_nas.evaluation.naive import calibrate
from fewshot_nas.models.checkpoint import load_supernet, save_subnet
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.records.files import locked, read_json, sha256, write_json
from fewshot_nas.results.directories import NetworkDirectory
from fewshot_nas.results.evaluations import no_better
from fewshot_nas.results.run import finetune_directory, stand_alone_directory
from fewshot_nas.running.images import refuse_other_images, trained_on
from fewshot_nas.running.life import Begun, Training
from fewshot_nas.running.manifest import recipe_sha256
from fewshot_nas.running.run import Run, placed, seed_weights, start_facts, started
from fewshot_nas.space.pool import write_codes
from fewshot_nas.space.space import Arch
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.task import STEADY_STEPS, Learning, NetworkTask, plain_groups, sgd


@dataclass(frozen=True)
class StandAloneResult:
    """The result of one run: accuracies in percent on the ranking images and on the test images.

    Attributes:
        recipe: digest of everything that the result depends on besides arch and seed.
    """

    arch_id: str
    code: str
    seed: int
    recipe: str
    valid: float
    test: float


class GroundTruth:
    """A ground-truth file, and the results of all its runs beside it, `<file>.runs/<arch>_seed<n>.json`.

    After each run the file is written again from all runs, under a lock, so that any number of
    processes can add to it. Its accuracies are means over seeds on the ranking images. The means on
    the test images are in `<name>_test.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.runs = path, path.with_suffix(".runs")

    def has(self, arch_id: str, seed: int) -> bool:
        return self._run(arch_id, seed).exists()

    def refuse_others(self, recipe: str, arch_id: str, code: str) -> None:
        """Refuse to mix runs that were trained differently, because their means could not be compared.

        Raises:
            InputError: a run has another recipe, or the id stands for another arch.
        """
        for run in self.results():
            path = self._run(run.arch_id, run.seed)
            if run.recipe != recipe:
                raise InputError(
                    f"{path}: was trained with other settings, images or number of processes than now;"
                    " use the old ones, or choose another --ground_truth"
                )
            if run.arch_id == arch_id and run.code != code:
                raise InputError(f"{path}: {arch_id} is {run.code} there, expected {code}; is it of another pool?")

    def add(self, result: StandAloneResult) -> None:
        """Store the result of a run and write the two files again."""
        write_json(self._run(result.arch_id, result.seed), vars(result))
        with locked(self.runs / ".lock", wait=True):
            results = self.results()
            write_codes(self.path, _means(results, "valid"))
            write_codes(self.path.with_stem(f"{self.path.stem}_test"), _means(results, "test"))

    def results(self) -> list[StandAloneResult]:
        """All runs, ordered by arch number and seed.

        Raises:
            InputError: a run's file is malformed.
        """
        return sorted((_read(path) for path in self.runs.glob("*_seed*.json")), key=_order)

    def _run(self, arch_id: str, seed: int) -> Path:
        return self.runs / f"{arch_id}_seed{seed}.json"


def _read(path: Path) -> StandAloneResult:
    try:
        return StandAloneResult(**read_json(path))
    except TypeError:
        raise InputError(f"{path}: is not the result of a stand-alone training; delete it and train again") from None


def _order(result: StandAloneResult) -> tuple[int, str, int]:
    digits = result.arch_id.removeprefix("arch")
    return int(digits) if digits.isdigit() else 0, result.arch_id, result.seed


def _means(results: list[StandAloneResult], split: str) -> dict[str, tuple[float, str]]:
    gathered: dict[str, list[StandAloneResult]] = {}
    for result in results:
        gathered.setdefault(result.arch_id, []).append(result)
    return {
        arch_id: (round(sum(getattr(run, split) for run in runs) / len(runs), 6), runs[0].code)
        for arch_id, runs in gathered.items()
    }


@dataclass(frozen=True, kw_only=True)
class SubnetTraining(Training[NetworkTask]):
    """An arch of the run's space, which is measured in the end; its network and its accuracies are kept.

    Attributes:
        name: of the network, in messages and in a ground truth.
        truth: gets the result, and says whether it is there; None for a network that is trained for its own sake.
        tests: whether the test images are looked at, which a ground truth needs.
        add: takes the result in place of `truth.add`.
    """

    run: Run
    directory: NetworkDirectory
    name: str
    code: str
    arch: Arch
    truth: GroundTruth | None = None
    tests: bool = True
    add: Callable[[StandAloneResult], None] | None = None

    @property
    @abstractmethod
    def settings(self) -> RecipeConfig:
        """How to train."""

    @abstractmethod
    def network(self) -> Subnet:
        """The network with its first weights."""

    @property
    @abstractmethod
    def hint(self) -> str:
        """What can be done with a network that is no ground truth's, for the user."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the training depends on beside settings and data."""
        return {"arch": self.code}

    @property
    def seed(self) -> int:
        return self.run.config.run.seed

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest of every training, and whether the network is measured with calibrated statistics."""
        calibrated = {"statistics": "calibrated"} if self._calibrates else {}
        return self.run.manifest(self.settings, self.directory, {**self.facts, **calibrated})

    @property
    def _calibrates(self) -> bool:
        settings, images = self.settings, len(self.run.data.train)
        return settings.epochs * batches_per_epoch(images, settings.batch_size, self.run.world.size) < STEADY_STEPS

    def known(self) -> str:
        """Says that the ground truth has the network with this seed already; empty if it has to be trained.

        Raises:
            InputError: the ground truth has another recipe, or another network of that name.
        """
        assert self.truth is not None
        self.truth.refuse_others(recipe_sha256(self.manifest), self.name, self.code)
        known = self.run.resume and self.truth.has(self.name, self.seed)
        return f"{self.name} with seed {self.seed} is in {self.truth.path} already" if known else ""

    def finished(self, going_on: bool) -> str:
        return super().finished(going_on) if self.truth is None else self.known()

    def begin(self) -> Begun[NetworkTask]:
        """The network and its recipe. An image that cannot be read is noticed here, before the training."""
        run, settings = self.run, self.settings
        network, watched = self.network(), self.truth is None
        network.trained_on = trained_on(run.data)
        network = placed(network, run.world)
        if self.tests:
            assert run.test
        task = NetworkTask(
            network=network,
            optimizer=sgd(plain_groups(network, settings.weight_decay), settings.momentum),
            step=Learning(settings.label_smoothing, run.config.run.precision, f"arch {self.code}"),
            valid=run.valid,
            calibrates=self._calibrates,
            due=range(settings.epochs) if watched else (),
        )
        return run.begun(settings, task, run.data.train)

    def finish(self, task: NetworkTask, log: RunLog) -> None:
        run = self.run
        valid, *tested = task.measured(run.valid, *([run.test] if self.tests else ()))
        write_json(self.directory.result, {"arch": self.code, "valid": valid, "test": tested[0] if tested else None})
        save_subnet(self.directory.chosen, task.network, run.space, self.code)
        # In one line, because a worker on another machine hands on its last line.
        doubt = no_better([valid], guessing(task.valid.labels)) if self.truth is not None else ""
        said = f"{self.name}, seed {self.seed}: top-1 {valid:.2f} %"
        if run.data.test is run.data.valid:
            said += ", there are no test images"
        else:
            said += f", test top-1 {tested[0]:.2f} %" if tested else ", the test images were not looked at"
        run.report(said + (f"; {doubt}" if doubt else ""))
        if self.truth is None:
            run.report(self.hint)
        else:
            facts = self.name, self.code, self.seed, recipe_sha256(self.manifest)
            (self.add or self.truth.add)(StandAloneResult(*facts, valid, *tested))


class StandAlone(SubnetTraining):
    """An arch from scratch, or from the weights of a file."""

    @classmethod
    def of(
        cls,
        run: Run,
        arch_id: str,
        arch: Arch,
        truth: GroundTruth | None,
        add: Callable[[StandAloneResult], None] | None = None,
        *,
        tests: bool = True,
    ) -> Self:
        """The training of an arch with the run's seed."""
        directory = stand_alone_directory(run.save, arch_id, run.config.run.seed)
        code = run.space.encode(arch)
        return cls(run=run, directory=directory, name=arch_id, code=code, arch=arch, truth=truth, add=add, tests=tests)

    @property
    def settings(self) -> RecipeConfig:
        return self.run.config.stand_alone

    @property
    def facts(self) -> Mapping[str, Any]:
        return {**super().facts, **start_facts(self.run.config.stand_alone)}

    def network(self) -> Subnet:
        """Weights that depend on the seed, and on the file if there is one."""
        if path := self.run.config.stand_alone.start:
            return started(self.run, path).subnet(self.arch)
        seed_weights(self.seed)
        return Subnet(self.run.space, self.arch, self.run.data.num_classes)

    @property
    def hint(self) -> str:
        line = command_line("export", model=self.directory.chosen, out=f"{self.name}.pt")
        return f"not added to a ground truth (--ground_truth does that); `{line}` exports it"


@dataclass(frozen=True, kw_only=True)
class FineTuning(SubnetTraining):
    """An arch from the weights that it has in a supernet, or from those of a file.

    Attributes:
        model: the supernet's file, or the other one.
        transfers: whether the file may be of other images and classes, see `read_start`.
    """

    model: Path
    transfers: bool = False

    @classmethod
    def of(cls, run: Run, name: str, arch: Arch, model: Path, *, transfers: bool = False) -> Self:
        """The training of an arch with the run's seed."""
        directory, code = finetune_directory(run.save, name, run.config.run.seed), run.space.encode(arch)
        return cls(run=run, directory=directory, name=name, code=code, arch=arch, model=model, transfers=transfers)

    @property
    def settings(self) -> RecipeConfig:
        return self.run.config.finetune

    @property
    def facts(self) -> Mapping[str, Any]:
        return {**super().facts, "parent_sha256": sha256(self.model)}

    def network(self) -> Subnet:
        """Inherited weights, with batch norm statistics of training images."""
        run = self.run
        if self.transfers:
            return started(run, self.model).subnet(self.arch)
        supernet = load_supernet(self.model)
        if (supernet.space, supernet.num_classes) != (run.space, run.data.num_classes):
            raise InputError(
                f"{self.model}: is of space {supernet.space.name} with {supernet.num_classes} classes, but the settings"
                f" are of {run.space.name} with {run.data.num_classes}"
            )
        refuse_other_images(self.model, supernet.trained_on, run.data)
        return extract(supernet, self.arch)

    def begin(self) -> Begun[NetworkTask]:
        """Say what the inherited weights are worth."""
        begun, valid = super().begin(), self.run.valid
        if self.run.plan:
            return begun
        calibrate(begun.task.network, valid.calibration_batches())
        if self.transfers:
            return begun
        top1, images = begun.task.measured()[0], len(valid.images)
        self.run.report(f"inherited weights: top-1 {top1:.2f} % on {images} validation images")
        return begun

    @property
    def hint(self) -> str:
        following = command_line("export", model=self.directory.chosen)
        return f"written: {self.directory.chosen}; `{following}` writes it for other programs"


def train_all(trainings: Sequence[StandAlone]) -> None:
    """Carry out one training after the other; one that another process is at work on is left out."""
    run = trainings[0].run
    if run.plan and len(trainings) > 1:
        run.report(f"{len(trainings)} archs; the first of them alone:")
        trainings = trainings[:1]
    left = [each for each in trainings if not (each.truth and run.resume and each.truth.has(each.name, each.seed))]
    pace = Pace(len(left), lambda line: run.report(f"{len(left)} archs: {line}"))
    for each in trainings:
        try:
            each.carry_out()
        except BusyError as error:
            run.report(f"{each.name} is left out: {error}")
        if each in left and not run.plan:
            pace.advance()
