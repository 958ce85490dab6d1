"""Stand-alone trainings on Ray, one at a time on each worker.

The workers train in the directories that a command without Ray would train in, so a training that was interrupted,
here or there, goes on. For that the working directory has to be a shared one, at the same path on all machines.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewshot_nas.cli.errors import BusyError, InputError, TaskError
from fewshot_nas.cluster.dispatch import results
from fewshot_nas.cluster.schedule import SLOWEST, TaskSchedule
from fewshot_nas.cluster.worker_pool import WorkerPool
from fewshot_nas.config import Config
from fewshot_nas.distributed import World
from fewshot_nas.records.comparing import differing
from fewshot_nas.records.files import locked, write_text
from fewshot_nas.results.run import run_directory
from fewshot_nas.running.manifest import clear
from fewshot_nas.running.networks import StandAlone
from fewshot_nas.running.run import Run
from fewshot_nas.space.space import Arch
from fewshot_nas.training.ground_truth import GroundTruth, StandAloneResult

_BUSY_S = 30.0  # a worker that was killed may hold its lock for a while


def train(trainings: Sequence[StandAlone], make_workers: Callable[[], AbstractContextManager[WorkerPool]]) -> None:
    """Train the archs that a ground truth does not have, and add them.

    Args:
        trainings: of one run and one truth, which this process reads and writes but does not carry out.
        make_workers: starts the pool; called if there is anything to train.

    Raises:
        InputError: the machines have no directory in common, or a training failed three times.
    """
    wanted = []
    for each in trainings:
        if said := each.known():
            each.run.report(said)
        else:
            wanted.append(each)
    if not wanted:
        return
    run, truth = wanted[0].run, wanted[0].truth
    assert truth is not None
    if not run.resume:
        for each in wanted:
            with locked(each.directory.lock, wait=False):
                clear(each.directory)
    with (
        _token(run.save) as token,
        make_workers() as workers,
        tqdm(total=len(wanted), unit="training", disable=None) as bar,
    ):
        work = Trainings.of(wanted, token)
        try:
            for number, (result, said) in results(workers, work, _schedule(wanted)):
                if result:
                    truth.add(result)
                workers.report(said or f"{wanted[number].name} is left out: another process is at work on it")
                bar.set_postfix_str(f"workers: {len(workers.accepted)}", refresh=False)
                bar.update()
        except TaskError as error:
            raise InputError(f"{wanted[error.number].name} {error}; all others are kept") from None


def _schedule(trainings: Sequence[StandAlone]) -> TaskSchedule:
    """Costs are multiply-adds of all epochs; backward takes twice those of forward."""
    run = trainings[0].run
    images, classes = 3 * run.config.stand_alone.epochs * len(run.data.train), run.data.num_classes
    costs = [float(run.space.cost(each.arch, num_classes=classes).macs * images) for each in trainings]
    begun = [number for number, each in enumerate(trainings) if each.directory.last.exists()]
    return TaskSchedule(dict(enumerate(costs)), slowest=1 / SLOWEST, resumed=begun, copies=False)


@contextmanager
def _token(save: str) -> Iterator[Path]:
    """A file by which workers know the driver's directory."""
    path = run_directory(save) / "stand_alone" / f".driver-{uuid.uuid4().hex}"
    write_text(path, path.name)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()


@dataclass(frozen=True)
class Trainings:
    """Trainings as they are sent to the workers.

    Attributes:
        truth: the ground truth's file; only the driver writes it.
        manifest: the driver's manifest of the first arch's training.
        directory: the driver's working directory, and `token` a file in it.
    """

    save: str
    config: Config
    archs: tuple[tuple[str, Arch], ...]
    truth: Path
    manifest: dict[str, Any]
    directory: Path
    token: Path

    @classmethod
    def of(cls, trainings: Sequence[StandAlone], token: Path) -> "Trainings":
        """Trainings of one run, numbered in their order."""
        first, archs = trainings[0], tuple((each.name, each.arch) for each in trainings)
        assert first.truth is not None
        return cls(first.run.save, first.run.config, archs, first.truth.path, first.manifest, Path.cwd(), token)

    def unpacked(self, world: World) -> Callable[[int], tuple[StandAloneResult | None, str]]:
        """The work's result is that of a training, with a line for a person."""
        try:
            os.chdir(self.directory)
            seen = self.token.read_text() == self.token.name
        except OSError:
            seen = False
        if not seen:
            raise InputError(
                f"does not see {self.directory / self.token}, which the driver has just written; to train on Ray, start"
                " in a directory that all machines share under the same path, or train without --executor ray"
            )
        said: list[str] = []
        run = Run(save=self.save, config=self.config, world=world, resume=True, report=said.append)
        if keys := differing(self.manifest, StandAlone.of(run, *self.archs[0], None).manifest):
            raise InputError(f"differs from the driver in {', '.join(keys[:4])}; all machines need the same images")
        return lambda number: self._trained(run, number, said)

    def _trained(self, run: Run, number: int, said: list[str]) -> tuple[StandAloneResult | None, str]:
        found: list[StandAloneResult] = []
        give_up_s = time.monotonic() + _BUSY_S
        while True:
            try:
                StandAlone.of(run, *self.archs[number], GroundTruth(self.truth), found.append).carry_out()
                return found[0] if found else None, said[-1]
            except BusyError:
                if time.monotonic() > give_up_s:
                    return None, ""
                time.sleep(1)
