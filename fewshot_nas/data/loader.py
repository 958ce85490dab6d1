"""Batches in an order that depends on seed and epoch alone.

Nothing here has a state to save: which images batch b of an epoch holds, and what becomes of
them, is the same for any number of workers, for any layout of ranks, and after resuming at b.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fewshot_nas.data.images import Images
from fewshot_nas.data.keys import random_keys, random_order
from fewshot_nas.data.transforms import Transform
from fewshot_nas.errors import InputError

Batch = tuple[Tensor, Tensor]  # uint8 [B, C, R, R] and int64 [B]


def batch_share(count: int, batch_size: int, world: int = 1) -> int:
    """Images of each rank in a batch of `batch_size` images of all ranks; fewer where there are only `count`.

    Raises:
        InputError: the ranks cannot share the batch equally, or there are more ranks than images.
    """
    if batch_size % world:
        lower, upper = batch_size // world * world, (batch_size // world + 1) * world
        nearest = f"{lower} or {upper}" if lower else f"{upper}"
        raise InputError(
            f"the batch size of all processes together is {batch_size}, expected a multiple of the {world} processes"
            f" such as {nearest}"
        )
    if count < world:
        raise InputError(f"there are {count} training images for {world} ranks, expected at least one for each")
    return min(batch_size, count) // world


def batches_per_epoch(count: int, batch_size: int, world: int = 1) -> int:
    """How many batches `train_batches` makes of `count` images; at least one."""
    return count // (world * batch_share(count, batch_size, world))


def train_batches(
    images: Images,
    transform: Transform,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches of one rank in one epoch, from batch number `start` on.

    The ranks' shares, joined in order, are the batches of one rank alone.
    The images left over at the end of an epoch are dropped, others in each epoch; a data set
    smaller than one batch is one smaller batch.

    Args:
        batch_size: images of all ranks together.
        workers: processes that decode ahead; with 0 a batch is made when it is asked for, which
            takes a millisecond for images in memory.

    Raises:
        InputError: there are fewer images than ranks, they cannot share a batch equally, or an image
            cannot be decoded.
    """
    size = batch_share(len(images), batch_size, world)
    count = batches_per_epoch(len(images), batch_size, world)
    order = random_order(f"order/{seed}/{epoch}", len(images))
    mine = order[: count * world * size].view(count, world, size)[:, rank]
    return _load(_Plan(images, transform, mine[start:].unbind(), f"augment/{seed}/{epoch}"), workers)


def ordered_batches(images: Images, transform: Transform, *, batch_size: int, workers: int = 0) -> Iterator[Batch]:
    """All images once, in their own order; the last batch may be smaller."""
    return _load(_Plan(images, transform, torch.split(torch.arange(len(images)), batch_size), "ordered"), workers)


@dataclass(frozen=True, eq=False)
class _Plan(Dataset[Batch | InputError]):
    """Whole batches as the items of a data set, so that a worker makes one at a time."""

    images: Images
    transform: Transform
    batches: Sequence[Tensor]
    stream: str

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch | InputError:
        indices = self.batches[number]
        try:
            pixels = self.images.pixels(indices)
        except InputError as error:
            return error  # raised here, it would reach the user with a worker's traceback in it
        return self.transform(pixels, random_keys(self.stream, indices)), self.images.labels[indices]


def _load(plan: _Plan, workers: int) -> Iterator[Batch]:
    # A generator of its own keeps the loader from drawing from the global one.
    loader = DataLoader(plan, batch_size=None, num_workers=workers, collate_fn=_as_is, generator=torch.Generator())
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _as_is(item: Any) -> Any:
    return item
