"""Batches whose order depends on seed and epoch only.

Nothing here has a state that a checkpoint would have to save. The images of batch b of an epoch, and
their augmentation, are the same for any number of workers or ranks, and if a run is resumed at b.
"""

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.launcher import share
from fewshot_nas.data.images import Images, random_keys, random_order
from fewshot_nas.data.pictures import Pixels
from fewshot_nas.data.transforms import Transform

AT_ONCE = 64  # images of a part
CPU = torch.device("cpu")
_PATIENCE_S = 600  # for a batch; the reductions of several processes have the same
_MORE_MEMORY = "choose fewer data.workers (0 needs none), or give a container more (docker run --shm-size=8g)"
Batch = tuple[Tensor, Tensor]  # uint8 [B, C, R, R] and int64 [B]
_Made = tuple[Tensor, Tensor, Tensor]  # a batch and its keys, int64 [B]
_Request = tuple[str, npt.NDArray[np.int64]]  # the stream of keys, and the images' indices


def batch_images(count: int, batch_size: int, world: int = 1) -> int:
    """The number of images of a batch, of all ranks: `batch_size`, or all `count` if fewer.

    Raises:
        InputError: there are more ranks than images.
    """
    if batch_size < world:
        raise InputError(
            f"the batch size of all processes together is {batch_size}, expected at least one image for each of the"
            f" {world} processes"
        )
    if count < world:
        raise InputError(f"there are {count} training images for {world} ranks, expected at least one for each")
    return min(batch_size, count)


def batches_per_epoch(count: int, batch_size: int, world: int = 1) -> int:
    """The number of batches in an epoch of `count` images; at least one."""
    return count // batch_images(count, batch_size, world)


class TrainBatches:
    """The training batches of one rank, epoch after epoch.

    The shares of all ranks, joined in order, are the batches that a single rank would get; where the ranks cannot
    share a batch equally, some have an image more. Images
    that do not fill a batch at the end of an epoch are dropped; they are different ones in each
    epoch. A data set that is smaller than one batch gives one smaller batch.

    Args:
        batch_size: images of all ranks together.
        workers: processes that decode images in advance, and that live from one epoch to the next.
            With 0, a batch is made when it is needed, which takes a millisecond for images in memory.
        device: where `Transform.finish` runs, and where the batches end up.

    Raises:
        InputError: there are fewer images than ranks.
    """

    def __init__(
        self,
        images: Images,
        transform: Transform,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        device: torch.device = CPU,
    ) -> None:
        self._images, self._seed = len(images), seed
        self.size = batch_images(len(images), batch_size, world)
        self._share = share(self.size, rank, world)
        self.per_epoch = batches_per_epoch(len(images), batch_size, world)
        self._transform, self._device = transform, device
        self._wanted: list[_Request] = []  # the loader reads it whenever an epoch begins
        items = _Batches(images, transform, finishes=device.type == "cpu")
        self._loader = loader_of(items, self._wanted, workers, persistent=workers > 0, pinned=device.type == "cuda")

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, beginning with batch number `start`.

        Raises:
            InputError: an image cannot be decoded.
        """
        order = random_order(f"order/{self._seed}/{epoch}", self._images)
        batches = order[: self.per_epoch * self.size].view(self.per_epoch, self.size)
        own = batches[start:, self._share.start : self._share.stop]
        self._wanted[:] = [(f"augment/{self._seed}/{epoch}", images.numpy()) for images in own]
        for pixels, labels, keys in items_of(self._loader):
            if self._device.type != "cpu":
                pixels = self._transform.finish(pixels.to(self._device, non_blocking=True), keys)
            yield pixels, labels.to(self._device, non_blocking=True)


def in_parts(images: Images, made: Callable[[Pixels], Any], *, size: int = AT_ONCE, workers: int = 0) -> Iterator[Any]:
    """What `made` makes of the pixels of `size` images at a time: of all images once, in their own order."""
    parts = [part.numpy() for part in torch.split(torch.arange(len(images)), size)]
    yield from items_of(loader_of(_Parts(images, made), parts, workers))


@dataclass(frozen=True, eq=False)
class _Parts(Dataset[Any]):
    """A data set whose items are what is made of several images at a time."""

    images: Images
    made: Callable[[Pixels], Any]

    def __getitem__(self, numbers: npt.NDArray[np.int64]) -> Any:
        try:
            return self.made(self.images.pixels(torch.from_numpy(numbers)))
        except InputError as error:
            return error  # if it were raised here, the message would contain a worker's traceback


@dataclass(frozen=True, eq=False)
class _Batches(Dataset[_Made | InputError]):
    """A data set whose items are whole batches, so that a worker makes one batch at a time.

    Attributes:
        finishes: whether `Transform.finish` is applied here too.
    """

    images: Images
    transform: Transform
    finishes: bool

    def __getitem__(self, request: _Request) -> _Made | InputError:
        stream, numbers = request
        indices = torch.from_numpy(numbers)
        keys = random_keys(stream, indices)
        try:
            batch = self.transform(self.images.pixels(indices), keys)
        except InputError as error:
            return error  # if it were raised here, the message would contain a worker's traceback
        return self.transform.finish(batch, keys) if self.finishes else batch, self.images.labels[indices], keys


def loader_of(
    items: "Dataset[Any]",
    wanted: Sequence[Any],
    workers: int,
    *,
    persistent: bool = False,
    pinned: bool = False,
    patience_s: int = _PATIENCE_S,
) -> "DataLoader[Any]":
    """A loader of `items[request]` for each wanted request, made in so many worker processes; 0: in this one.

    Args:
        patience_s: how long to wait for an item of the workers.
    """
    return DataLoader(
        items,
        batch_size=None,
        sampler=wanted,
        num_workers=workers,
        collate_fn=_handed_over,
        worker_init_fn=_ends_with_the_main_process,
        persistent_workers=persistent,
        pin_memory=pinned,
        generator=torch.Generator(),  # without its own, the loader would draw from the global one
        timeout=patience_s if workers else 0,
    )


def items_of(loader: "DataLoader[Any]") -> Iterator[Any]:
    """The items of a loader, in order.

    Raises:
        InputError: an item is one; or a worker was killed, or gives nothing.
    """
    with lost_workers_said():
        for item in _started(loader):
            if isinstance(item, InputError):
                raise item
            yield item


def _ends_with_the_main_process(worker: int) -> None:
    """In a worker, let the thread that hands over images be silent if the other side ends in the middle of that."""

    def say(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not isinstance(error, EOFError | ConnectionError):
            sys.__excepthook__(kind, error, traceback)

    sys.excepthook = say


def _started(loader: "DataLoader[Any]") -> Iterator[Any]:
    """Begin an epoch, for which worker processes may have to be started."""
    try:
        return iter(loader)
    except OSError as error:
        for frame, _ in walk_tb(error.__traceback__):
            if isinstance(half := frame.f_locals.get("self"), _MultiProcessingDataLoaderIter):
                half._shutdown = True  # else its end would raise, and print, errors of its own
        if error.errno != errno.ENOSPC:
            raise
        raise InputError(f"worker processes cannot be started (/dev/shm: {error.strerror}); {_MORE_MEMORY}") from None


@contextmanager
def lost_workers_said() -> Iterator[None]:
    """Say in one sentence that a worker process was lost. torch raises that wherever the main thread happens to be."""
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if said.startswith("DataLoader timed out"):
            raise InputError(
                f"the worker processes that prepare images have given none for too long ({said}): the images' disk may"
                " hang, or a worker was stopped"
            ) from None
        if said.startswith("DataLoader worker (pid"):
            raise InputError(
                f"a worker process that prepares images has ended ({said.partition('. ')[0]}); if it was killed, main"
                f" memory or /dev/shm may be full; {_MORE_MEMORY}"
            ) from None
        if said.startswith("unable to allocate shared memory"):  # for the images that a new worker is given
            raise InputError(f"worker processes cannot be given their images ({said}); {_MORE_MEMORY}") from None
        raise


def _handed_over(item: Any) -> Any:
    """An item, whose tensors a worker has put into shared memory.

    torch would do it later, in a thread whose errors nobody hears of, and the other side would wait for ever.
    """
    worker = get_worker_info()
    if worker is None or isinstance(item, InputError):
        return item
    tensors = [part for part in (item if isinstance(item, tuple) else (item,)) if isinstance(part, Tensor)]
    try:
        for tensor in tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        ahead = 2 * worker.num_workers  # batches that torch lets them prepare in advance
        mb = sum(tensor.nbytes for tensor in tensors) / 1e6
        return InputError(
            f"a worker process cannot hand over its images ({' '.join(str(error).split())}): data.workers="
            f"{worker.num_workers} needs up to {ahead * mb:.0f} MB of shared memory (/dev/shm), for {ahead} batches of"
            f" {mb:.1f} MB; {_MORE_MEMORY}"
        )
    return item
