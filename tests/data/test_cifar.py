"""CIFAR-10 is read as torchvision lays it out; what is missing, damaged or could run code is refused."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.known import CIFAR_TEST, CIFAR_TRAIN, FOLDER, read_cifar10
from fewshot_nas.data.sources import open_data


def batch(count, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [number % 10 for number in range(count)]
    return {"batch_label": "a batch", "labels": labels, "data": pixels, "filenames": ["x.png"] * count}


def put(root, count=20):
    """A miniature of the data set, in protocol 2 as the published files."""
    place = root / FOLDER
    place.mkdir(parents=True)
    for seed, name in enumerate((*CIFAR_TRAIN, *CIFAR_TEST)):
        (place / name).write_bytes(pickle.dumps(batch(count, seed), protocol=2))
    return place


def test_it_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    place = put(tmp_path)
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # not the published images
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: None)
    for ours, train in zip(read_cifar10(tmp_path), (True, False), strict=True):
        theirs = CIFAR10(tmp_path, train=train)
        assert ours.array.numpy().transpose(0, 2, 3, 1).tolist() == theirs.data.tolist()
        assert ours.labels.tolist() == theirs.targets
    assert len(read_cifar10(place)[0]) == 100


def test_the_published_files_name_numpy_as_it_was(tmp_path):
    place = put(tmp_path)
    for name in (*CIFAR_TRAIN, *CIFAR_TEST):
        content = (place / name).read_bytes()
        (place / name).write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert len(read_cifar10(tmp_path)[1]) == 20


def test_a_fifth_of_the_training_images_is_for_ranking(tmp_path):
    put(tmp_path)
    data = open_data("cifar10", tmp_path)
    assert [len(data.train), len(data.valid), len(data.test)] == [80, 20, 20]
    assert set(Counter(data.valid.labels.tolist()).values()) == {2}
    assert torch.cat([data.train.array, data.valid.array]).unique(dim=0).shape[0] == 100
    assert len(data.mean) == len(data.std) == 3


def test_it_says_where_it_looked(tmp_path):
    with pytest.raises(InputError, match=rf"CIFAR-10 is neither in {tmp_path / FOLDER} nor in {tmp_path}, expected"):
        read_cifar10(tmp_path)


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
    (put(tmp_path) / CIFAR_TEST[0]).write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_cifar10(tmp_path)
