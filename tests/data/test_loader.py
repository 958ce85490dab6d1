"""Neither workers, nor ranks, nor resuming change a batch."""

import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.loader import TrainBatches, batches_per_epoch, in_parts, items_of, loader_of
from fewshot_nas.data.transforms import eval_transform, train_transform

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
COUNTS = {"count": st.integers(4, 60), "batch_size": st.integers(1, 70), "world": st.integers(1, 4)}


def epoch_of(images, recipe="shift_flip", **settings):
    settings = {"batch_size": 3, "seed": 1} | settings
    epoch, start = settings.pop("epoch", 0), settings.pop("start", 0)
    return list(TrainBatches(images, train_transform(recipe, 8), **settings).epoch(epoch, start))


def assert_same(first, second):
    assert len(first) == len(second)
    for (pixels, labels), (other_pixels, other_labels) in zip(first, second, strict=True):
        assert torch.equal(pixels, other_pixels)
        assert torch.equal(labels, other_labels)


def plain(count):
    return ArrayImages(torch.zeros(count, 1, 8, 8, dtype=torch.uint8), torch.arange(count))


@settings(deadline=None, max_examples=40)
@given(**COUNTS, seed=st.integers(0, 3))
def test_ranks_see_each_image_once_but_the_dropped_rest(count, batch_size, world, seed):
    batch_size = max(batch_size, world)
    ranks = [epoch_of(plain(count), batch_size=batch_size, seed=seed, rank=rank, world=world) for rank in range(world)]
    seen = [label for rank in ranks for _, labels in rank for label in labels.tolist()]
    assert len(seen) == len(set(seen))
    assert len(seen) > count - batch_size
    assert {len(rank) for rank in ranks} == {batches_per_epoch(count, batch_size, world)}
    assert len({tuple(len(labels) for _, labels in rank) for rank in zip(*ranks, strict=True)}) == 1
    sizes = [len(rank[0][1]) for rank in ranks]
    assert sum(sizes) == min(batch_size, count)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("recipe", ["photo", "shift_flip"])
def test_the_ranks_shares_joined_are_one_rank_s_batches(files, recipe):
    left, right = (epoch_of(files, recipe, batch_size=2, rank=rank, world=2) for rank in (0, 1))
    joined = [tuple(map(torch.cat, zip(a, b, strict=True))) for a, b in zip(left, right, strict=True)]
    assert_same(joined, epoch_of(files, recipe, batch_size=2))


@pytest.mark.parametrize("recipe", ["photo", "shift_flip"])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(files, recipe, workers):
    assert_same(epoch_of(files, recipe, workers=workers), epoch_of(files, recipe))


@pytest.mark.parametrize("recipe", ["photo", "shift_flip"])
def test_resuming_inside_an_epoch_continues_it(files, recipe):
    unbroken = epoch_of(files, recipe, batch_size=2)
    for start in range(4):
        assert_same(epoch_of(files, recipe, batch_size=2, start=start), unbroken[start:])


def test_labels_stay_with_their_images(numbered):
    for pixels, labels in epoch_of(numbered(50), batch_size=7):
        assert torch.equal(pixels.flatten(1).amax(1).long(), labels)


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 2}])
def test_another_epoch_or_seed_is_another_order_and_augmentation(numbered, change):
    images = numbered(50)
    (first, first_labels), (second, second_labels) = (
        epoch_of(images, "shift", batch_size=50, **other)[0] for other in ({}, change)
    )
    assert not torch.equal(first_labels, second_labels)
    assert not torch.equal(first[first_labels.argsort()], second[second_labels.argsort()])


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_generator_stays_as_it_was(files, workers):
    before = torch.get_rng_state()
    epoch_of(files, "photo", workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_fewer_images_than_a_batch_are_one_batch(numbered):
    ((_, labels),) = epoch_of(numbered(5), batch_size=64)
    assert sorted(labels.tolist()) == [0, 1, 2, 3, 4]


def test_fewer_images_than_ranks_are_refused_at_once(numbered):
    with pytest.raises(InputError, match="there are 2 training images for 3 ranks"):
        TrainBatches(numbered(2), train_transform("shift", 8), batch_size=6, seed=0, world=3)


def test_a_batch_with_fewer_images_than_ranks_is_refused():
    with pytest.raises(InputError, match=r"is 2, expected at least one image for each of the 3 processes$"):
        batches_per_epoch(100, 2, 3)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_number_of_ranks_changes_no_step_count(world):
    assert batches_per_epoch(1000, 64, world) == 15


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_is_one_sentence_from_a_worker_too(files, workers):
    (files.root / files.names[2]).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image 2\.jpg: cannot be decoded") as error:
        epoch_of(files, workers=workers, batch_size=7)
    assert "\n" not in str(error.value)


@dataclass(frozen=True)
class KillsItsWorker:
    """A transform, as the system may end a process for memory."""

    def __call__(self, pixels):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_one_sentence(files):
    with pytest.raises(InputError, match=r"prepares images has ended .*; choose fewer data\.workers"):
        list(in_parts(files, KillsItsWorker(), size=3, workers=1))


class Late:
    """Items that take a second and a half."""

    def __getitem__(self, number):
        time.sleep(1.5)


def test_a_worker_that_gives_nothing_is_one_sentence():
    with pytest.raises(InputError, match=r"have given none for too long \(DataLoader timed out after 1 s"):
        list(items_of(loader_of(Late(), range(2), 1, patience_s=1)))


def test_full_shared_memory_is_one_sentence(files):
    """What fails there is what fails where /dev/shm is full: to lengthen the file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(InputError, match=r"data\.workers=2 needs up to 0 MB of shared memory \(/dev/shm\), for 4 "):
            list(in_parts(files, eval_transform("shift", 8), size=3, workers=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_shared_memory_too_full_for_any_worker_is_one_sentence(files, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.multiprocessing, "Queue", full)
    with pytest.raises(InputError, match=r"cannot be started \(/dev/shm: No space left on device\); choose fewer data"):
        list(in_parts(files, eval_transform("shift", 8), size=3, workers=2))


class Meets:
    """Items in whose making a thread of the worker meets an error."""

    def __getitem__(self, error):
        sys.excepthook(type(error), error, None)
        return ()


def test_the_end_of_the_main_process_is_no_error_of_a_worker(capfd):
    list(items_of(loader_of(Meets(), [EOFError("gone"), ConnectionResetError("gone"), ValueError("a defect")], 1)))
    assert capfd.readouterr().err.splitlines() == ["ValueError: a defect"]


def test_workers_stay_between_epochs_and_end_with_their_batches(files):
    batches = TrainBatches(files, train_transform("photo", 8), batch_size=1, seed=0, workers=2)
    before, seen = set(multiprocessing.active_children()), []  # another test's worker may take a while to end
    for epoch in range(3):
        assert len(list(batches.epoch(epoch))) == 7
        seen.append(set(multiprocessing.active_children()) - before)
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 2
    del batches
    assert not seen[0] & set(multiprocessing.active_children())


def test_an_epoch_left_early_does_not_reach_into_the_next(files):
    batches = TrainBatches(files, train_transform("photo", 8), batch_size=1, seed=1, workers=2)
    left = batches.epoch(0)
    next(left)
    left.close()
    assert_same(list(batches.epoch(1)), epoch_of(files, "photo", batch_size=1, epoch=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_parts_hold_all_images_once(files, workers):
    transform = eval_transform("shift", 8)
    parts = list(in_parts(files, transform, size=3, workers=workers))
    assert [len(pixels) for pixels in parts] == [3, 3, 1]
    assert torch.equal(torch.cat(parts), transform(files.pixels(torch.arange(7))))
