"""The life of every training: lock, manifest, start or continue, loop, finish.

Rank 0 reads the files, decides, and broadcasts its decision, because on a network file system two processes
may see different files.
"""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar

from fewshot_nas.cli.main import Report, speaker
from fewshot_nas.config import dump_config
from fewshot_nas.data.images import Images
from fewshot_nas.data.sources import ImageData
from fewshot_nas.distributed import World, check_equal_on_all_ranks, fail_together, on_rank0
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.records.files import locked
from fewshot_nas.reporting.log import read_log
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.running.images import opened
from fewshot_nas.running.manifest import UNCOMPARED, begin, goes_on
from fewshot_nas.running.options import run_words
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Loop, Schedule
from fewshot_nas.training.task import Source, Task

T = TypeVar("T", bound=Task[Any, Any])


@dataclass(frozen=True, kw_only=True)
class AnyRun(ABC):
    """A training command's run, of either system.

    Attributes:
        save: its name.
        config: its settings; each training stores a copy of them.
        resume: whether to continue an unfinished training of the same name.
        report: shows a line to the user.
        words: the run in the first line of the command, see `options.run_words`; without it there is none.
        plan: whether only to say what a training will cost.
    """

    save: str
    config: Any
    world: World
    resume: bool
    report: Report
    words: str = ""
    plan: bool = False

    @classmethod
    def asked(
        cls, options: argparse.Namespace, config: Any, world: World, parent: Path | None = None, **more: Any
    ) -> Self:
        """The run that a training command's options ask for.

        Args:
            parent: as `run_words` takes it.
            more: further values of the run.
        """
        return cls(
            save=options.save,
            config=config,
            world=world,
            resume=options.resume,
            report=speaker(world.is_rank0),
            words=run_words(options, parent),
            plan=options.plan,
            **more,
        )

    @property
    @abstractmethod
    def data(self) -> ImageData:
        """The data set of the settings."""

    @abstractmethod
    def inputs(self, scored: Images) -> Inputs:
        """Images to score on, and training images to calibrate with."""

    @cached_property
    def valid(self) -> Inputs:
        """The images to rank on, decoded once for all trainings of the run."""
        return self.inputs(self.data.valid)

    @cached_property
    def test(self) -> Inputs:
        return self.inputs(self.data.test)

    @property
    def stored(self) -> Any:
        """The settings as a training keeps them."""
        return self.config

    def say_opened(self, data: ImageData, space: str) -> ImageData:
        """Say which images there are, and what is to be noted about them. Returns them."""
        if self.words:
            self.report(opened(self.words, data, space, self.world))
        for note in data.notes:
            self.report(note)
        return data


class Begun(NamedTuple, Generic[T]):
    """What a training begins or goes on with."""

    task: T
    source: Source
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class Training(ABC, Generic[T]):
    """One training of a run. Subclasses say what it depends on, what is trained, and what comes of it.

    None of their methods may talk to other processes.

    Attributes:
        directory: where it keeps its files.
    """

    run: AnyRun
    directory: PhaseDirectory

    @cached_property
    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """What the training depends on.

        Raises:
            InputError: it cannot be trained.
        """

    @abstractmethod
    def begin(self) -> Begun[T]:
        """Make what is trained.

        Raises:
            InputError: settings do not fit each other.
        """

    def finished(self, going_on: bool) -> str:
        """Says that the training is finished, or nothing. By default it is once its result exists.

        Args:
            going_on: whether an earlier training goes on.
        """
        chosen = self.directory.chosen
        return f"{chosen} is there already; --no-resume trains it anew" if going_on and chosen.exists() else ""

    @abstractmethod
    def finish(self, task: T, log: RunLog) -> None:
        """Write the result; called on rank 0 only."""

    def carry_out(self) -> None:
        """Train to the end, from where an earlier training was stopped; say so if that one is finished.

        Raises:
            BusyError: another process trains under this name.
            InputError: an earlier training of that name is not one to go on with, or training fails.
        """
        run, world = self.run, self.run.world
        if run.plan:
            with fail_together(world):
                assert self.manifest
                begun = self.begin()
            run.report(f"{self.directory.path}: {self._loop(begun, RunLog(*self._logs)).plan()}")
            return
        with alone(self.directory.lock, world):
            # What a process finds wrong in its own files ends all of them, before any of them waits for another.
            with fail_together(world):
                fixed = {key: value for key, value in self.manifest.items() if key not in UNCOMPARED}
            check_equal_on_all_ranks(fixed, world)
            # Only rank 0 looks at the directory: on a network file system the others may see an older state of it.
            going_on, done = on_rank0(world, self._found)
            if done:
                run.report(done)
                return
            with fail_together(world):
                begun = self.begin()
            # The old files are removed last, when nothing can be refused any more.
            if not going_on:
                on_rank0(world, lambda: begin(self.directory, self.manifest, dump_config(run.stored)))
            with RunLog(*self._logs) as log:
                loop = self._loop(begun, log)
                loop.resume()
                if loop.step:
                    run.report(f"continuing {self.directory.path} at step {loop.step} of {loop.steps}")
                loop.run()
                on_rank0(world, lambda: self.finish(begun.task, log))
            if said := on_rank0(world, lambda: read_log(self.directory.log).collapse):
                run.report(said)

    def _found(self) -> tuple[bool, str]:
        """Whether an earlier training goes on, and what to say if nothing is left to do."""
        going_on = goes_on(self.directory, self.manifest, self.run.resume)
        return going_on, self.finished(going_on)

    @property
    def _logs(self) -> tuple[Path, Path]:
        return self.directory.log, self.directory.events

    def _loop(self, begun: Begun[T], log: RunLog) -> Loop:
        return Loop(*begun, self.directory.last, log, self.run.world, self.run.report)


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
