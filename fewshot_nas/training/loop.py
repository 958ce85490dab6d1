"""The epoch loop that every kind of training shares, with exact resume.

No random generator has a state to be saved: archs, batches, augmentation and dropout follow from the seed and the
step. So a run that was killed and resumed ends with the same bits as one that was not.
"""

import hashlib
import math
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from fewshot_nas.cli.errors import InputError, with_memory
from fewshot_nas.cli.main import Pace, duration
from fewshot_nas.data.loader import lost_workers_said
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import World, fail_together, gathered, on_rank0
from fewshot_nas.models.checkpoint import read_checkpoint
from fewshot_nas.records.journal import Record
from fewshot_nas.training.gradients import GradientMean
from fewshot_nas.training.log import RunLog, summary
from fewshot_nas.training.task import Batch, Source, Task

_IN_EVALUATION = (
    "while the networks of an epoch were measured; lower evaluation.batch_size (for Cream BATCH_SIZE), and go on"
)
FEW_STEPS = 5  # tell how fast a training is
PLANNED_STEPS, PLANNED_S = 20, 10.0  # the most that a plan measures
CHECKED_STEPS = 10  # steps between two checks of the losses, each of which waits for the device


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a task is trained; `batch_size` counts the images of all processes."""

    epochs: int
    warmup_epochs: int
    batch_size: int
    lr: float
    clip_value: float
    seed: int
    checkpoint_steps: int

    def rate(self, per_epoch: int) -> Callable[[int], float]:
        """The learning rate of each step, if an epoch has `per_epoch` steps; subclasses may have other schedules."""
        return cosine(self.lr, self.epochs * per_epoch, self.warmup_epochs * per_epoch)


def cosine(base: float, total: int, warmup: int) -> Callable[[int], float]:
    """The learning rate of each step: a linear warm-up from a thousandth of `base`, then a cosine to 0."""

    def rate(step: int) -> float:
        if step < warmup:
            return base * (0.001 + 0.999 * step / warmup)
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group to its multiple of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


class Loop:
    """One run of a task.

    Args:
        last: the file with the state for resuming; rank 0 writes it every `checkpoint_steps` steps
            and after each epoch.
        report: shows a line to the user after each epoch.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        source: Source,
        schedule: Schedule,
        last: Path,
        log: RunLog,
        world: World,
        report: Callable[[str], None] = print,
    ) -> None:
        self.task, self.source, self.schedule = task, source, schedule
        self.last, self.log, self.world = last, log, world
        self._report = report
        self._batches = source.batches(schedule.batch_size, schedule.seed, world)
        self._per_epoch = self._batches.per_epoch
        self._batch, self._averaged = self._batches.size, GradientMean(world)
        self._share = world.share(self._batch)
        self._rate = schedule.rate(self._per_epoch)
        self.step = 0
        self._pace_unsaid = True
        self._paced: tuple[int, float] | None = None  # step and time after the first step, which starts workers
        self._losses = torch.zeros(len(task.step.names), dtype=torch.float64)  # sums over the epoch's checked steps
        self._unchecked: list[Tensor] = []  # losses of the steps since the last check, on the device

    @property
    def steps(self) -> int:
        return self.schedule.epochs * self._per_epoch

    def resume(self) -> None:
        """Restore the state in `last`; if there is none, start at step 0.

        Raises:
            InputError: the file is not the state of this kind of run.
        """
        position = 0
        if on_rank0(self.world, self.last.exists):
            with fail_together(self.world):
                position = self._restore()
        self._refuse_different_states()
        with fail_together(self.world):
            if self.world.is_rank0 and (lost := self.log.rewind(position, self.step)):
                self._report(f"the log beside {self.last} has lost {lost:,} bytes: a report will lack their epochs")

    def _restore(self) -> int:
        """Restore the state, and return the position in the log."""
        content = read_checkpoint(self.last)
        try:
            self.task.restore(content)
            self.step, self._losses, position = content["step"], content["losses"].cpu(), content["log"]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{self.last}: is not the state of this run ({type(error).__name__}: {reason});"
                " start anew with --no-resume or another --save"
            ) from None
        return int(position)

    def _refuse_different_states(self) -> None:
        """Check that all processes have the same weights; on a network file system one may read an older file."""
        states = gathered((self.step, _digest(self.task.network)), self.world) if self.world.size > 1 else []
        for rank, (step, digest) in enumerate(states):
            if (step, digest) != states[0]:
                raise InputError(
                    f"{self.last}: process {rank} reads step {step} with weights {digest}, process 0 reads step"
                    f" {states[0][0]} with weights {states[0][1]}; wait until all see the same file, then go on"
                )

    def run(self) -> None:
        """Train to the end of the schedule.

        Raises:
            InputError: a loss or a weight is not finite, or an image cannot be decoded.
        """
        while self.step < self.steps:
            epoch = self.step // self._per_epoch
            with with_memory(self._in_a_step()):
                time = self._epoch(epoch)
            losses = (self._losses / self._per_epoch).tolist()
            record: Record = {"epoch": epoch, "step": self.step, "lr": self._rate(self.step - 1)}
            record |= {"loss": dict(zip(self.task.step.names, losses, strict=True)), "time": time}
            self._refuse_broken_weights()
            with with_memory(_IN_EVALUATION):
                record |= self.task.end_epoch(epoch)
            self._losses.zero_()
            # The log first: the state holds its length, so a state never counts on a line that was lost.
            if self.world.is_rank0:
                self.log.write(record)
            self._save()
            if self.world.is_rank0:
                self._report("; ".join(filter(None, (summary(record, self.schedule.epochs), self._left()))))

    def _in_a_step(self) -> str:
        """What to do if a step lacks memory."""
        shares = f", {self._batch / self.world.size:g} in each of {self.world.size} processes" * (self.world.size > 1)
        return (
            f"in training with batches of {self._batch} images{shares}; lower the batch size, or take"
            " run.precision=bf16 or more processes, and start anew with --no-resume"
        )

    def plan(self) -> str:
        """Train a few steps for nothing, and say what the whole schedule will cost. No file is written."""
        batches = chain.from_iterable(map(self._batches.epoch, range(self.schedule.epochs)))
        with lost_workers_said(), FlopCounterMode(display=False) as counted:
            self._train_on(*next(batches))  # also starts workers and kernels
            self._check_losses()
        pace, most = Pace(self.steps), time.monotonic() + PLANNED_S
        for batch in islice(batches, PLANNED_STEPS):
            self._train_on(*batch)
            self._check_losses()
            pace.advance()
            if time.monotonic() > most:
                break
        macs = counted.get_total_flops() / 2 * self.world.size * self.steps
        measured = f"about {duration(pace.whole_s())} by {pace.pieces} steps" if pace.pieces else "one step is too few"
        return (
            f"{self.schedule.epochs} epochs of {self._per_epoch} steps with {self._batch} images, {self.steps} steps;"
            f" {macs:.2g} multiply-adds, backward included; {measured}, without validations;"
            f" {most_taken_mb(self.world.device):,.0f} MB of memory for each process"
        )

    def _epoch(self, epoch: int) -> Record:
        """Train the remaining steps of an epoch; return times and speeds."""
        start, waited_s, done = time.perf_counter(), 0.0, self.step % self._per_epoch
        batches = self._batches.epoch(epoch, done)
        with self._progress(epoch, done) as bar, lost_workers_said():
            while True:
                # Time that the loader lets the device wait is reported: it says whether more workers would help.
                asked = time.perf_counter()
                batch = next(batches, None)
                waited_s += time.perf_counter() - asked
                if batch is None:
                    break
                self._train_on(*batch)
                # Reading a loss waits for the device, so losses are looked at every few steps, and at the epoch's end.
                if self.step % CHECKED_STEPS == 0 or self.step % self._per_epoch == 0:
                    self._check_losses()
                    self._show(bar)
                    self._say_pace(bar)
                bar.update(self._batch)
                # The state at an epoch's end is written by `run`, after the validation that it belongs to.
                if self.step % self._per_epoch and self.step % self.schedule.checkpoint_steps == 0:
                    self._save()
        seconds = time.perf_counter() - start
        images = (self._per_epoch - done) * self._batch
        return {"s": seconds, "images_per_s": images / seconds, "data_wait_percent": 100 * waited_s / seconds}

    def _say_pace(self, bar: "tqdm[Any]") -> None:
        """After a few steps, say once how long all of them will take; the epochs' lines say it from then on."""
        few = not self._paced or self.step - self._paced[0] < FEW_STEPS
        if self._pace_unsaid and not few and self.step % self._per_epoch:
            self._pace_unsaid = False
            bar.clear()
            self._report(f"step {self.step} of {self.steps}: {self._left()}, without validations")

    def _left(self) -> str:
        """Such as `about 12 min left`, by the steps so far; empty at the beginning and at the end."""
        first, since = self._paced or (self.step, 0.0)
        if not first < self.step < self.steps:
            return ""
        return f"about {duration((time.monotonic() - since) * (self.steps - self.step) / (self.step - first))} left"

    def _train_on(self, images: Tensor, labels: Tensor) -> None:
        step, optimizer = self.step, self.task.optimizer
        # Only dropout draws from torch's generator, and all ranks draw for the whole batch.
        torch.manual_seed(step_seed(self.schedule.seed, step))
        inputs = normalize(images.to(self.world.device), self.source.mean, self.source.std)
        optimizer.zero_grad(set_to_none=True)
        batch = Batch(inputs, labels.to(self.world.device), step, self._share)
        trained = self.task.step.backward(self.task.network, batch)
        numbers = trained.numbers if self._share is None else trained.numbers * self._share.weight
        # Averaged before clipping, so that the step does not depend on the number of processes.
        means = self._averaged(self.task.network.parameters(), numbers)
        self._unchecked.append(means[: len(self.task.step.names)])
        self.task.after_backward(batch, trained, means)
        if self.schedule.clip_value:
            nn.utils.clip_grad_value_(self.task.network.parameters(), self.schedule.clip_value)
        set_rate(optimizer, self._rate(step))
        optimizer.step()
        self.step += 1
        self._paced = self._paced or (self.step, time.monotonic())

    def _check_losses(self) -> None:
        """Add up the losses of the last steps, and fail if one is not finite; all processes have the same losses."""
        if not self._unchecked:
            return
        steps = torch.stack(self._unchecked).cpu().double()  # [steps, names]
        first = self.step - len(self._unchecked)
        self._unchecked.clear()
        for step, losses in enumerate(steps, start=first):
            self._refuse_divergence(losses, step)
            self._losses += losses

    def _refuse_divergence(self, losses: Tensor, step: int) -> None:
        if losses.isfinite().all():
            return
        number = int((~losses.isfinite()).nonzero()[0, 0])
        owner = self.task.step.culprit(self.task.network, number, step)
        raise self._divergence(f"the loss of {owner} is {losses[number]:.3g} at step {step}")

    def _divergence(self, what: str) -> InputError:
        kept = f"{self.last} has the last good state" if self.last.exists() else "no state had been written yet"
        return InputError(f"{what}; {kept}. Lower the learning rate, or check the images")

    def _refuse_broken_weights(self) -> None:
        if not torch.stack([parameter.isfinite().all() for parameter in self.task.network.parameters()]).all():
            raise self._divergence(f"weights are no longer finite after step {self.step - 1}")

    def _save(self) -> None:
        self._check_losses()
        self._refuse_broken_weights()
        with fail_together(self.world):
            if self.world.is_rank0:
                self.task.save(self.last, {"step": self.step, "losses": self._losses, "log": self.log.position()})

    def _progress(self, epoch: int, done: int) -> "tqdm[Any]":
        """A bar that counts images; only rank 0 shows it, and only on a terminal."""
        return tqdm(
            desc=f"epoch {epoch + 1}/{self.schedule.epochs}",
            total=self._per_epoch * self._batch,
            initial=done * self._batch,
            unit=" images",
            leave=False,
            disable=None if self.world.rank == 0 else True,
        )

    def _show(self, bar: "tqdm[Any]") -> None:
        if bar.disable:
            return
        steps = (self.step - 1) % self._per_epoch + 1
        lr = self._rate(self.step - 1)
        bar.set_postfix_str(f"loss {self._losses[0] / steps:.3f}, lr {lr:.2g}", refresh=False)


def most_taken_mb(device: torch.device) -> float:
    """The most memory that this process has taken so far, in MB: of the GPU, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def step_seed(seed: int, step: int) -> int:
    """A seed for torch's generator, different for every step."""
    return random.Random(f"{seed}/{step}/0").getrandbits(63)


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
