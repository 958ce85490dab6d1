"""What training and evaluation have in common: several processes look at files once."""

import multiprocessing
import resource
import time

import pytest
import torch
from PIL import Image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import DataConfig
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.pictures import FilePicture
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.records.files import read_json
from fewshot_nas.running.images import images_of, training_images
from fewshot_nas.train_stand_alone import main as train_stand_alone


@pytest.fixture
def data(tmp_path):
    """Settings of twelve images in two classes, as folders."""
    for red, part in enumerate(("train", "val")):
        for green, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (70, 64), (red, green, number)).save(tmp_path / part / name / f"{number}.png")
    return DataConfig(name="folders", root=tmp_path, cache=tmp_path / "cache", stored_side=32)


@pytest.mark.dist
def test_one_process_alone_asks_for_all_sizes_and_decodes(data, ranks, monkeypatch):
    def one_of_three():
        asked, read = [], []
        size, pixels = FileImages.file_size, FilePicture.read
        slow = 0.02  # so that the others come while one is at work
        monkeypatch.setattr(FileImages, "file_size", lambda self, name: asked.append(name) or size(self, name))
        monkeypatch.setattr(
            FilePicture, "read", lambda self, shrink=1: read.append(time.sleep(slow)) or pixels(self, shrink)
        )
        images = images_of(data)
        valid = decoded(images.valid, eval_transform("photo", 16), data.cache)
        stored = training_images(images.train, data)
        return len(asked), len(read), (images.train.fingerprint, valid.sum().item(), stored.image(5).sum().item())

    asked, read, found = zip(*ranks(3, one_of_three), strict=True)
    assert sum(asked) == 12 + 3 * 12  # all once; and each process those that tell whether a list has changed
    assert sum(read) == 12 + 12  # to compare them, and to use them
    assert len(set(found)) == 1


def test_without_a_side_the_files_are_trained_on(data):
    images = images_of(data)
    settings = DataConfig(name="folders", root=data.root, cache=data.cache)
    assert training_images(images.train, settings) is images.train
    assert torch.equal(images.train.labels, torch.tensor([0, 0, 0, 1, 1, 1]))


@pytest.fixture
def train(workshop, data):
    """Trains one network on the images of the settings, and gives its accuracy."""

    def run(save, *settings):
        own = [f"data.root={data.root}", f"data.cache={data.cache}", "data.name=folders", "space.in_channels=3"]
        own += ["space.resolution=64", "stand_alone.epochs=1", "evaluation.calibration_images=2", "data.valid_images=2"]
        assert train_stand_alone(["--target_arch_num=1", f"--save={save}", *own, *settings]) == 0
        return read_json(workshop / "results" / save / "gt_arch30.json")

    return run


def test_full_shared_memory_ends_a_training(train):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))  # less than a batch
    try:
        with pytest.raises(InputError, match=r"data\.workers=1 needs up to 0 MB of shared memory"):
            train("full", "data.workers=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_may_be_started_in_any_way(train, method):
    """Python 3.14 forks none, and everything that workers get is pickled."""
    usual = multiprocessing.get_start_method()
    alone = train("alone", "data.stored_side=64")
    multiprocessing.set_start_method(method, force=True)
    try:
        assert train("together", "data.stored_side=64", "data.workers=2") == alone
    finally:
        multiprocessing.set_start_method(usual, force=True)
