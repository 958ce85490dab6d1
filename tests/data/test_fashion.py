"""Fashion-MNIST is found in each of its places, and its absence is explained."""

import gzip
import struct
from pathlib import Path

import pytest
import torch
import torchvision

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data import known
from fewshot_nas.data.known import read_fashion_mnist, read_idx


def idx(*shape, value=7):
    return (
        b"\0\0\x08"
        + bytes([len(shape)])
        + struct.pack(f">{len(shape)}I", *shape)
        + bytes([value]) * torch.Size(shape).numel()
    )


def put(place, zipped, counts=(5, 2)):
    place.mkdir(parents=True, exist_ok=True)
    for part, count in zip(("train", "t10k"), counts, strict=True):
        for name, content in (
            (f"{part}-images-idx3-ubyte", idx(count, 28, 28)),
            (f"{part}-labels-idx1-ubyte", idx(count)),
        ):
            path = place / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture(autouse=True)
def debian(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "DEBIAN_DIRECTORY", tmp_path / "debian")
    return tmp_path / "debian"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(root, download):
        raise RuntimeError("Error downloading:\nno route")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("place", ["root/FashionMNIST/raw", "root", "debian"])
@pytest.mark.parametrize("zipped", [False, True])
def test_it_is_found_wherever_it_is(tmp_path, place, zipped):
    put(tmp_path / place, zipped)
    train, test = read_fashion_mnist(tmp_path / "root")
    assert (train.array.shape, test.array.shape) == ((5, 1, 28, 28), (2, 1, 28, 28))
    assert train.array.unique().tolist() == train.labels.unique().tolist() == [7]


@pytest.mark.usefixtures("no_network")
def test_its_absence_says_where_it_was_looked_for_and_how_to_get_it(tmp_path):
    root = tmp_path / "root"
    with pytest.raises(InputError) as error:
        read_fashion_mnist(root)
    message = str(error.value)
    for expected in (
        root / "FashionMNIST" / "raw",
        tmp_path / "debian",
        "no route",
        "apt install",
        "t10k-images-idx3-ubyte.gz",
    ):
        assert str(expected) in message
    assert "\n" not in message
    assert not any(root.iterdir())


def test_a_download_is_moved_into_place_whole(tmp_path, monkeypatch):
    def download(root, download):
        put(Path(root) / "FashionMNIST" / "raw", zipped=False)

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    train, _ = read_fashion_mnist(tmp_path / "root")
    assert len(train) == 5
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["FashionMNIST"]


def test_another_process_may_have_downloaded_it_meanwhile(tmp_path, monkeypatch):
    def download(root, download):
        put(Path(root) / "FashionMNIST" / "raw", zipped=False)
        put(tmp_path / "root" / "FashionMNIST" / "raw", zipped=False, counts=(4, 1))

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    assert len(read_fashion_mnist(tmp_path / "root")[0]) == 4


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0", b"\0\0\x08\x03", idx(5)[:-1], idx(5) + b"x", b"\0\0\x0d" + idx(5)[3:], b"\0\0\x08\0"],
)
def test_a_damaged_idx_file_is_named(tmp_path, content):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(InputError, match="labels: is not a complete idx file"):
        read_idx(tmp_path / "labels")


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(idx(500), mtime=0)[:-9], b""])
def test_a_damaged_gzip_file_is_named(tmp_path, content):
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.gz: (cannot be read|is not a complete)"):
        read_idx(tmp_path / "labels.gz")


def test_images_and_labels_must_agree(tmp_path, debian):
    put(debian, zipped=False)
    (debian / "t10k-labels-idx1-ubyte").write_bytes(idx(3))
    with pytest.raises(
        InputError, match=r"t10k-images-idx3-ubyte and its labels have the shapes \(2, 28, 28\) and \(3,\)"
    ):
        read_fashion_mnist(tmp_path)
