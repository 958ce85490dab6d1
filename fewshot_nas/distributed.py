"""Several processes that train or evaluate together: torchrun's environment, gloo or NCCL."""

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import DEFAULTS, Settings, computing
from fewshot_nas.models.batch import BatchShare
from fewshot_nas.watch import Watch, connection, said, whereabouts

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=10)  # of a reduction; all ranks come to it at about the same time
LONG_TIMEOUT = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """This process among the others, and the device it computes on.

    Attributes:
        patient: the processes again, for waits that may take long; None where there is one process.
        sync_norms: whether batch norms, in training, take the statistics of the whole batch.
    """

    rank: int
    size: int
    device: torch.device
    patient: dist.ProcessGroup | None = None
    sync_norms: bool = True

    @classmethod
    def alone(cls) -> "World":
        """A single process on the CPU."""
        return cls(0, 1, torch.device("cpu"))

    @property
    def is_rank0(self) -> bool:
        """Whether this process is the one that writes files and reports to the user."""
        return self.rank == 0

    def share(self, images: int) -> BatchShare | None:
        """This process's share of a batch of so many images; None if it has all of them."""
        if self.size == 1:
            return None
        own = launcher.share(images, self.rank, self.size)
        return BatchShare(own.start, len(own), images, self.size, self.sync_norms)

    @property
    def facts(self) -> dict[str, Any]:
        """For a manifest. Only where each process has norms of its own is their number part of a recipe."""
        return {"processes": self.size} | ({} if self.sync_norms else {"batch_shares": self.size})

    def of_norms(self, images: int) -> int:
        """Of a batch of so many images, the fewest whose statistics a batch norm takes."""
        return images if self.sync_norms else images // self.size


@contextmanager
def joined(device: str | None, settings: Settings = DEFAULTS) -> Iterator[World]:
    """Join the processes that torchrun started; alone, a world of one.

    A process that raises an error, is killed or is stopped ends all of them, see `watch.py`.

    Args:
        device: as torch names it; None takes a GPU if there is one, else the CPU. Each process
            has a GPU of its own, unless the name has a number.

    Raises:
        InputError: there is no such device.
        KnownError: another process has failed.
    """
    with computing(settings), _processes(device, settings) as world:
        yield world


@contextmanager
def _processes(device: str | None, settings: Settings) -> Iterator[World]:
    chosen = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rank, size, _ = launcher.place()
    if size == 1:
        yield World(0, 1, chosen, sync_norms=settings.sync_norms)
        return
    _meet("nccl" if chosen.type == "cuda" else "gloo")
    try:
        # Ranks wait for the slowest one: for its work units, or for one that decodes images for all.
        patient = dist.new_group(backend="gloo", timeout=LONG_TIMEOUT)
        world = World(rank, size, chosen, patient, settings.sync_norms)  # type: ignore[arg-type]
        with _watched(world, settings.silence_s):
            yield world
    finally:
        dist.destroy_process_group()


def _meet(backend: str) -> None:
    try:
        dist.init_process_group(backend, timeout=STEP_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = " ".join(str(error).partition("\n")[0].split())
        raise InputError(
            f"the processes cannot meet at {where} ({reason}); see to it that all are started, that the machines"
            " reach each other, and that no other program uses this port"
        ) from None


@contextmanager
def _watched(world: World, silence_s: float) -> Iterator[None]:
    """Watch the other processes, which all do."""
    name = broadcast_object(uuid.uuid4().hex, world)
    others = dict(enumerate(gathered(whereabouts(), world)))
    del others[world.rank]
    watch = Watch(name, world.rank, others, silence_s, connection)
    gathered(None, world)  # all have given a first sign
    watch.start()
    try:
        yield
    except BaseException as error:
        raise watch.verdict(error) from None
    finally:
        watch.stop()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        if device == torch.device("cuda"):
            _refuse_more_processes_than_gpus()
            device = torch.device("cuda", launcher.place().local)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"--device is {name!r}, which cannot be used here ({reason}); expected cpu or cuda") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _refuse_more_processes_than_gpus() -> None:
    here = max(launcher.number("LOCAL_WORLD_SIZE", 1, least=1), launcher.place().local + 1)
    if (gpus := torch.cuda.device_count()) and here > gpus:
        raise InputError(
            f"{here} processes were started on this machine, which has {gpus} GPU{'s' * (gpus > 1)}, and each needs one"
            f" of its own; start {gpus} (--nproc_per_node={gpus}), or compute with --device cpu"
        )


def broadcast(tensor: Tensor, world: World) -> Tensor:
    """Rank 0's tensor, on all processes. All of them call this with a tensor of the same shape."""
    if world.size == 1:
        return tensor
    tensor = tensor.clone(memory_format=torch.contiguous_format)  # the caller's own stays as it is
    dist.broadcast(tensor, 0)
    return tensor


def broadcast_object(value: T, world: World) -> T:
    """Rank 0's picklable value, on all processes. Waits as long as rank 0 needs."""
    if world.size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, 0, group=world.patient)
    return values[0]


def gathered(value: T, world: World) -> list[T]:
    """Every process's value, in order of ranks, on all processes."""
    if world.size == 1:
        return [value]
    values: list[T | None] = [None] * world.size
    dist.all_gather_object(values, value, group=world.patient)
    return values  # type: ignore[return-value]


@contextmanager
def fail_together(world: World) -> Iterator[None]:
    """Wait for all processes at the end of the block, and fail on all of them if one fails.

    The block must not talk to other processes: they would wait there for one that has failed.

    Raises:
        InputError: on a process that has not failed; says what went wrong on the first one that has.
    """
    if world.size == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    known = failure if failure is None or isinstance(failure, InputError) else InputError(said(failure, world.rank))
    failures = [each for each in gathered(known, world) if each is not None]
    if failure is not None:
        raise failure
    if failures:
        raise failures[0]


def on_rank0(world: World, function: Callable[[], T]) -> T:
    """Call a function on rank 0 only; all ranks return its result. On a network's disk two may see different files.

    Raises:
        InputError: the function failed; raised on all processes.
    """
    found: T | None = None
    with fail_together(world):
        if world.is_rank0:
            found = function()
    return gathered(found, world)[0]  # type: ignore[return-value]


def check_equal_on_all_ranks(values: Mapping[str, Any], world: World) -> Mapping[str, Any]:
    """Return the values if they are the same on all processes. On a network's disk two may see different files.

    Raises:
        InputError: a value differs; names it, on all processes.
    """
    for rank, seen in enumerate(all_seen := gathered(values, world)):
        for key, value in seen.items():
            if value != all_seen[0].get(key):
                raise InputError(
                    f"process {rank} sees {key} {value}, process 0 sees {all_seen[0].get(key)};"
                    " wait until all see the same files, then go on"
                )
    return values
