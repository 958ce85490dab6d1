"""Several processes that train or evaluate together: torchrun's environment, gloo or NCCL."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fewshot_nas.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among the others, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def alone(cls) -> "World":
        """A single process on the CPU."""
        return cls(0, 1, torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0


@contextmanager
def joined(device: str | None, threads: int = 0) -> Iterator[World]:
    """Join the processes that torchrun started; alone, a world of one.

    Args:
        device: as torch names it; None takes a GPU if there is one, else the CPU. Each process
            has a GPU of its own, unless the name has a number.
        threads: of this process on the CPU; 0 leaves their number to torch.

    Raises:
        InputError: there is no such device.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield World(0, 1, chosen)
        return
    # Ranks wait for the slowest one: for its work units, or for one that decodes images for all.
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(days=7))
    try:
        yield World(dist.get_rank(), size, chosen)
    finally:
        dist.destroy_process_group()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        if device == torch.device("cuda"):
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"--device is {name!r}, which cannot be used here ({reason}); expected cpu or cuda") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def average_gradients(parameters: Iterable[nn.Parameter], world: World, extra: Tensor) -> Tensor:
    """Replace gradients by their mean over all processes, in one reduction.

    Parameters without a gradient stay without one; which those are is the same everywhere,
    because all processes draw the same archs.

    Args:
        extra: numbers [N] averaged along, such as losses.

    Returns:
        The mean of `extra`.
    """
    if world.size == 1:
        return extra
    tensors = [parameter.grad for parameter in parameters if parameter.grad is not None] + [extra]
    flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= world.size
    for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))
    return extra


def from_main(tensor: Tensor, world: World) -> Tensor:
    """Rank 0's tensor, on all processes; all have one of that shape."""
    if world.size == 1:
        return tensor
    tensor = tensor.contiguous()
    dist.broadcast(tensor, 0)
    return tensor


def decided(work: Callable[[], T], world: World) -> T:
    """What rank 0's work gives, on all processes; an error of it ends all of them."""
    if world.size == 1:
        return work()
    told: list[Any] = [None, None]
    if world.is_main:
        try:
            told = [work(), None]
        except Exception as error:  # whatever it is, the others must not wait for what never comes
            told = [None, error]
    dist.broadcast_object_list(told, 0)
    if told[1] is not None:
        raise told[1]
    return told[0]  # type: ignore[no-any-return]


def gathered(value: T, world: World) -> list[T]:
    """Every process's value, in order of ranks, on all processes."""
    if world.size == 1:
        return [value]
    values: list[T | None] = [None] * world.size
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def wait_for_all(world: World) -> None:
    """Return when every process has come here."""
    if world.size > 1:
        dist.barrier()
