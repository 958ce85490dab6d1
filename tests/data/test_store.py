"""Stored images are the images, smaller; the file is whole or not there."""

import multiprocessing

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.cache import stored
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import train_transform

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_small_enough_are_kept_as_they_are(files, cache, workers):
    kept = stored(files, 30, cache, workers=workers)
    assert len(kept) == 7
    assert torch.equal(kept.labels, files.labels)
    assert all(torch.equal(kept.image(index), files.image(index)) for index in range(7))


def test_larger_ones_are_brought_to_the_side(files, cache):
    kept = stored(files, 10, cache)
    assert {min(kept.image(index).shape[1:]) for index in range(7)} == {10}
    assert kept.image(0).shape == (3, 10, 15)
    assert (kept.image(0).float().mean() - files.image(0).float().mean()).abs() < 3


def test_they_are_decoded_once(files, cache, monkeypatch):
    first = stored(files, 10, cache).image(3)
    monkeypatch.setattr(FileImages, "pixels", None)
    assert torch.equal(stored(files, 10, cache).image(3), first)


def test_training_on_them_is_training_on_the_images(files, cache):
    def epoch(images):
        return list(TrainBatches(images, train_transform("photo", 8), batch_size=3, seed=1).epoch(0))

    for (mine, labels), (theirs, their_labels) in zip(epoch(stored(files, 30, cache)), epoch(files), strict=True):
        assert torch.equal(labels, their_labels)
        # What is much too large is decoded smaller by another way.
        assert (mine.float() - theirs.float()).abs().mean() < 12


def test_a_selection_has_the_selected(files, cache):
    kept = stored(files, 30, cache)
    part = kept.select(torch.tensor([4, 2]))
    assert torch.equal(part.image(1), files.image(2))
    assert part.labels.tolist() == files.labels[[4, 2]].tolist()
    assert part.fingerprint != kept.fingerprint


def test_a_picture_may_be_read_smaller(files, cache):
    (picture,) = stored(files, 30, cache).pixels(torch.tensor([0]))
    assert (picture.size, picture.read(2).shape) == ((20, 30), (3, 10, 15))


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" + content])
def test_a_damaged_file_is_named(files, cache, damage):
    stored(files, 10, cache)
    (path,) = cache.glob("*.pictures")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"{path.name}: the stored images are damaged; delete the file"):
        stored(files, 10, cache)


def test_an_interrupted_build_leaves_nothing(files, cache):
    (files.root / files.names[6]).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image 6\.jpg"):
        stored(files, 10, cache)
    assert not list(cache.glob("*.pictures*")) + list(cache.glob(".*.pictures*"))


@pytest.mark.slow
def test_workers_that_are_not_forked_store_the_same(files, cache):
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert torch.equal(stored(files, 30, cache, workers=1).image(3), files.image(3))
    finally:
        multiprocessing.set_start_method(usual, force=True)
