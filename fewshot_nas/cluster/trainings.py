"""Stand-alone trainings on Ray, one at a time on each worker.

The workers train in the directories that a command without Ray would train in, so a training that was interrupted,
here or there, goes on. For that the working directory has to be a shared one, at the same path on all machines.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
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
from fewshot_nas.manifest import clear, recipe_sha256
from fewshot_nas.records.comparing import differing
from fewshot_nas.records.files import locked, write_text
from fewshot_nas.results.run import run_directory
from fewshot_nas.running.networks import NetworkRun
from fewshot_nas.space.space import Arch
from fewshot_nas.training.stand_alone import GroundTruth, StandAloneResult

_BUSY_S = 30.0  # a worker that was killed may hold its lock for a while


def train(
    run: NetworkRun,
    archs: Mapping[str, Arch],
    truth: GroundTruth,
    make_workers: Callable[[], AbstractContextManager[WorkerPool]],
) -> None:
    """Train the archs that a ground truth does not have, and add them.

    Args:
        run: this process's run; it reads and writes but does not train.
        make_workers: starts the pool; called if there is anything to train.

    Raises:
        InputError: the machines have no directory in common, or a training failed three times.
    """
    wanted = {arch_id: arch for arch_id, arch in archs.items() if not _known(run, arch_id, arch, truth)}
    if not wanted:
        return
    if not run.resume:
        for arch_id in wanted:
            with locked(run.stand_alone(arch_id).lock, wait=False):
                clear(run.stand_alone(arch_id))
    with (
        _token(run.save) as token,
        make_workers() as workers,
        tqdm(total=len(wanted), unit="training", disable=None) as bar,
    ):
        trainings = Trainings.of(run, wanted, truth, token)
        try:
            for number, (result, said) in results(workers, trainings, _schedule(run, wanted)):
                if result:
                    truth.add(result)
                workers.report(said or f"{trainings.archs[number][0]} is left out: another process is at work on it")
                bar.set_postfix_str(f"workers: {len(workers.accepted)}", refresh=False)
                bar.update()
        except TaskError as error:
            raise InputError(f"{trainings.archs[error.number][0]} {error}; all others are kept") from None


def _known(run: NetworkRun, arch_id: str, arch: Arch, truth: GroundTruth) -> bool:
    said = run.known(arch_id, arch, truth, recipe_sha256(run.stand_alone_manifest(arch_id, arch)))
    if said:
        run.report(said)
    return bool(said)


def _schedule(run: NetworkRun, archs: Mapping[str, Arch]) -> TaskSchedule:
    """Costs are multiply-adds of all epochs; backward takes twice those of forward."""
    images = 3 * run.config.stand_alone.epochs * len(run.data.train)
    costs = [float(run.space.cost(arch, num_classes=run.data.num_classes).macs * images) for arch in archs.values()]
    begun = [number for number, arch_id in enumerate(archs) if run.stand_alone(arch_id).last.exists()]
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
    def of(cls, run: NetworkRun, archs: Mapping[str, Arch], truth: GroundTruth, token: Path) -> "Trainings":
        """Trainings of a run, numbered in the order of the archs."""
        manifest = run.stand_alone_manifest(*next(iter(archs.items())))
        return cls(run.save, run.config, tuple(archs.items()), truth.path, manifest, Path.cwd(), token)

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
        run = NetworkRun(self.save, self.config, world, True, said.append)
        if keys := differing(self.manifest, run.stand_alone_manifest(*self.archs[0])):
            raise InputError(f"differs from the driver in {', '.join(keys[:4])}; all machines need the same images")
        return lambda number: self._trained(run, number, said)

    def _trained(self, run: NetworkRun, number: int, said: list[str]) -> tuple[StandAloneResult | None, str]:
        found: list[StandAloneResult] = []
        give_up_s = time.monotonic() + _BUSY_S
        while True:
            try:
                run.train_stand_alone(*self.archs[number], GroundTruth(self.truth), found.append)
                return found[0] if found else None, said[-1]
            except BusyError:
                if time.monotonic() > give_up_s:
                    return None, ""
                time.sleep(1)
