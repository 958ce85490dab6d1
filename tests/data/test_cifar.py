"""CIFAR-10 and CIFAR-100 are read as torchvision lays them out; what is missing, damaged or could run code is not."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from torchvision import datasets

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.known import CIFAR10, CIFAR100, read_cifar
from fewshot_nas.data.sources import open_data

NAMES = [f"class {number}" for number in range(100)]


def batch(count, seed, kind=CIFAR10):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [number % kind.classes for number in range(count)]
    return {"batch_label": "a batch", kind.labels: labels, "data": pixels, "filenames": ["x.png"] * count}


def put(root, count=20, kind=CIFAR10):
    """A miniature of the data set, in protocol 2 as the published files."""
    place = root / kind.folder
    place.mkdir(parents=True)
    for seed, name in enumerate(kind.files):
        content = {"fine_label_names": NAMES} if name == "meta" else batch(count, seed, kind)
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    return place


@pytest.mark.parametrize(("kind", "count"), [(CIFAR10, 20), (CIFAR100, 200)])
def test_it_is_read_as_torchvision_reads_it(tmp_path, monkeypatch, kind, count):
    reader = getattr(datasets, kind.title.replace("-", ""))
    place = put(tmp_path, count, kind)
    monkeypatch.setattr(reader, "_check_integrity", lambda self: True)  # not the published images
    monkeypatch.setattr(reader, "_load_meta", lambda self: None)
    for ours, train in zip(read_cifar(kind, tmp_path), (True, False), strict=True):
        theirs = reader(tmp_path, train=train)
        assert ours.array.numpy().transpose(0, 2, 3, 1).tolist() == theirs.data.tolist()
        assert ours.labels.tolist() == theirs.targets
    assert len(read_cifar(kind, place)[0]) == count * len(kind.train)


def test_the_classes_of_cifar100_have_their_names(tmp_path):
    place = put(tmp_path, 1000, CIFAR100)
    data = open_data("cifar100", tmp_path)
    assert (data.num_classes, data.classes) == (100, tuple(NAMES))
    assert [len(data.train), len(data.valid), len(data.test)] == [800, 200, 1000]
    (place / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES[:99]}))
    with pytest.raises(InputError, match="meta: names 99 classes in fine_label_names, expected 100"):
        open_data("cifar100", tmp_path)


def test_the_published_files_name_numpy_as_it_was(tmp_path):
    place = put(tmp_path)
    for name in CIFAR10.files:
        content = (place / name).read_bytes()
        (place / name).write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert len(read_cifar(CIFAR10, tmp_path)[1]) == 20


def test_a_fifth_of_the_training_images_is_for_ranking(tmp_path):
    put(tmp_path)
    data = open_data("cifar10", tmp_path)
    assert [len(data.train), len(data.valid), len(data.test)] == [80, 20, 20]
    assert set(Counter(data.valid.labels.tolist()).values()) == {2}
    assert torch.cat([data.train.array, data.valid.array]).unique(dim=0).shape[0] == 100
    assert len(data.mean) == len(data.std) == 3


def test_it_says_where_it_looked(tmp_path):
    with pytest.raises(
        InputError, match=rf"CIFAR-10 is neither in {tmp_path / CIFAR10.folder} nor in {tmp_path}, expected"
    ):
        read_cifar(CIFAR10, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a batch of CIFAR-10"),
        (pickle.dumps({"data": 1}), "is not a batch of CIFAR-10"),
        (pickle.dumps(print), "names builtins.print"),
        (pickle.dumps({**batch(4, 0), "labels": [1, 2, 3]}), r"expected uint8 \(3, 3072\)"),
        (pickle.dumps({**batch(2, 0), "labels": [1, 10]}), "labels other than 0 to 9"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, reason):
    (put(tmp_path) / CIFAR10.test).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_cifar(CIFAR10, tmp_path)
