"""What training and evaluation have in common: several processes look at files once."""

import pytest
import torch
from PIL import Image

from fewshot_nas import runs
from fewshot_nas.config import DataConfig
from fewshot_nas.data.images import FileImages
from fewshot_nas.data.pictures import FilePicture
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.distributed import joined


@pytest.fixture
def data(tmp_path):
    """Settings of twelve images in two classes, as folders."""
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (70, 64), (number, 2, 3)).save(tmp_path / part / name / f"{number}.png")
    return DataConfig(name="folders", root=tmp_path, cache=tmp_path / "cache", stored_side=32)


@pytest.mark.dist
def test_rank_0_alone_asks_for_sizes_and_decodes(data, ranks, monkeypatch):
    def one_of_two():
        asked, read = [], []
        size, pixels = FileImages.file_size, FilePicture.read
        monkeypatch.setattr(FileImages, "file_size", lambda self, name: asked.append(name) or size(self, name))
        monkeypatch.setattr(FilePicture, "read", lambda self, shrink=1: read.append(self) or pixels(self, shrink))
        with joined("cpu") as world:
            images = runs.images_of(data, world)
            decoded = runs.decoded_once(images.valid, eval_transform("photo", 16), data, world)
            stored = runs.training_images(images.train, data, world)
            results = images.train.fingerprint, decoded.sum().item(), stored.image(5).sum().item()
        return len(asked), len(read), results

    (asked, read, first), (asked_too, read_too, second) = ranks(2, one_of_two)
    assert (asked, read) == (2 * 12, 12)  # all of them once, and those that tell whether the list has changed
    assert (asked_too, read_too) == (0, 0)
    assert first == second


def test_without_a_side_the_files_are_trained_on(data):
    images = runs.images_of(data)
    settings = DataConfig(name="folders", root=data.root, cache=data.cache)
    assert runs.training_images(images.train, settings, None) is images.train
    assert torch.equal(images.train.labels, torch.tensor([0, 0, 0, 1, 1, 1]))
