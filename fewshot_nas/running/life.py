"""The life cycle of every training: lock, manifest, start or continue, loop, finish.

Rank 0 reads the files, decides, and broadcasts its decision, because on a network file system two processes
may see different files.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fewshot_nas.cli.main import Report
from fewshot_nas.config import dump_config
from fewshot_nas.distributed import World, check_equal_on_all_ranks, fail_together, on_rank0
from fewshot_nas.manifest import UNCOMPARED, begin, goes_on
from fewshot_nas.records.files import locked
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.training.log import RunLog, collapse
from fewshot_nas.training.loop import Loop, Schedule, Source, Task

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Training(Generic[T]):
    """The arguments of `Loop` that depend on the training."""

    task: T
    source: Source
    schedule: Schedule


@dataclass(frozen=True)
class LifeCycle:
    """One training and where it keeps its files.

    Attributes:
        config: the settings; a copy of them is stored.
        resume: whether to continue an unfinished run of the same name.
        report: shows a line to the user.
        plan: whether only to say what the training will cost.
    """

    directory: PhaseDirectory
    config: Any
    world: World
    resume: bool
    report: Report
    plan: bool = False

    def run(
        self,
        content: Callable[[], Mapping[str, Any]],
        start: Callable[[], Training[T]],
        finish: Callable[[T, RunLog], None],
        finished: Callable[[bool], str] | None = None,
    ) -> None:
        """Train to the end, from where an earlier run was stopped; report it if that one is finished.

        No argument may talk to other processes.

        Args:
            content: makes the manifest.
            start: makes what is trained; refuses settings that do not fit each other.
            finish: writes the result; called on rank 0 only.
            finished: says that the training is finished, or nothing; told whether an earlier run goes on.
                By default it is finished once `directory.chosen` exists.

        Raises:
            BusyError: another process trains under this name.
            InputError: an earlier run of that name is not one to go on with, or training fails.
        """
        if self.plan:
            with fail_together(self.world):
                content()
                training = start()
            self.report(f"{self.directory.path}: {self._loop(training, RunLog(*self._logs)).plan()}")
            return
        with alone(self.directory.lock, self.world):
            with fail_together(self.world):
                written = content()
            check_equal_on_all_ranks(
                {key: value for key, value in written.items() if key not in UNCOMPARED}, self.world
            )
            going_on, done = on_rank0(self.world, lambda: self._found(written, finished or self._chosen))
            if done:
                self.report(done)
                return
            with fail_together(self.world):
                training = start()
            if not going_on:
                on_rank0(self.world, lambda: begin(self.directory, written, dump_config(self.config)))
            with RunLog(*self._logs) as log:
                task = self._trained(training, log)
                on_rank0(self.world, lambda: finish(task, log))
            if said := on_rank0(self.world, lambda: collapse(self.directory.log)):
                self.report(said)

    def _found(self, written: Mapping[str, Any], finished: Callable[[bool], str]) -> tuple[bool, str]:
        """Whether an earlier run goes on, and what to say if nothing is left to do."""
        going_on = goes_on(self.directory, written, self.resume)
        return going_on, finished(going_on)

    def _chosen(self, going_on: bool) -> str:
        chosen = self.directory.chosen
        return f"{chosen} is there already; --no-resume trains it anew" if going_on and chosen.exists() else ""

    @property
    def _logs(self) -> tuple[Path, Path]:
        return self.directory.log, self.directory.events

    def _loop(self, training: Training[T], log: RunLog) -> Loop:
        task, source, schedule = training.task, training.source, training.schedule
        return Loop(task, source, schedule, self.directory.last, log, self.world, self.report)

    def _trained(self, training: Training[T], log: RunLog) -> T:
        loop = self._loop(training, log)
        loop.resume()
        if loop.step:
            self.report(f"continuing {self.directory.path} at step {loop.step} of {loop.steps}")
        loop.run()
        return training.task


@contextmanager
def alone(lock: Path, world: World) -> Iterator[None]:
    """Keep a second run of the same name out, on all processes.

    Raises:
        BusyError: another run holds the lock.
    """
    held = locked(lock, wait=False)
    on_rank0(world, held.__enter__)
    try:
        yield
    finally:
        if world.is_rank0:
            held.__exit__(None, None, None)
