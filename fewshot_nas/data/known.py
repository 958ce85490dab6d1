"""Published data sets: CIFAR-10, CIFAR-100, and Fashion-MNIST, which is downloaded if it is nowhere; and its blends.

A blend is the mean of two images of different classes, so a small data set becomes as large as needed. A network has to
recognise both classes. This is so hard that small networks differ by many points of accuracy after a short training,
unlike on the single images.
"""

import gzip
import hashlib
import io
import math
import pickle
import struct
import tempfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages, random_keys


class Cifar(NamedTuple):
    """How one of the two data sets is laid out in its archive for Python, and how its images are labelled."""

    title: str
    folder: str
    train: tuple[str, ...]
    test: str
    labels: str
    classes: int

    @property
    def files(self) -> tuple[str, ...]:
        """All files that are read; `meta` names the classes of CIFAR-100."""
        return (*self.train, self.test, *(["meta"] if self.classes == 100 else []))


CIFAR10 = Cifar(
    "CIFAR-10", "cifar-10-batches-py", tuple(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "labels", 10
)
CIFAR100 = Cifar("CIFAR-100", "cifar-100-python", ("train",), "test", "fine_labels", 100)
_ARCHIVES = "https://www.cs.toronto.edu/~kriz/{}-python.tar.gz"
_ROW = 3 * 32 * 32
# The only names in CIFAR's pickles; any other name could run code.
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_cifar(kind: Cifar, root: Path) -> tuple[ArrayImages, ArrayImages]:
    """Read the 50,000 training and the 10,000 test images, uint8 [N, 3, 32, 32] (Krizhevsky, 2009).

    The files may be in the folder of the published archive in `root`, or in `root` itself.

    Raises:
        InputError: a file is missing or damaged; names the directories that were searched.
    """
    place = _place(kind, root)
    train = [_read_batch(kind, place / name) for name in kind.train]
    joined = ArrayImages(*(torch.cat([getattr(batch, part) for batch in train]) for part in ("array", "labels")))
    return joined, _read_batch(kind, place / kind.test)


def cifar100_classes(root: Path) -> tuple[str, ...]:
    """The names of the 100 classes, from the file beside the images.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    path = _place(CIFAR100, root) / "meta"
    content = _load(CIFAR100, path)
    names = content.get("fine_label_names", ()) if isinstance(content, dict) else ()
    if len(names) != CIFAR100.classes or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: names {len(names)} classes in fine_label_names, expected {CIFAR100.classes}")
    return tuple(names)


def _place(kind: Cifar, root: Path) -> Path:
    places = (root / kind.folder, root)
    found = [place for place in places if all((place / name).is_file() for name in kind.files)]
    if not found:
        raise InputError(
            f"{kind.title} is neither in {places[0]} nor in {places[1]}, expected {', '.join(kind.files)};"
            f" unpack {_ARCHIVES.format(kind.title.lower())} in {root}, or set data.root"
        )
    return found[0]


def _load(kind: Cifar, path: Path) -> Any:
    try:
        return _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path}: is not a batch of {kind.title} ({error})") from None


def _read_batch(kind: Cifar, path: Path) -> ArrayImages:
    content = _load(kind, path)
    try:
        pixels, labels = np.asarray(content["data"]), np.asarray(content[kind.labels])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is not a batch of {kind.title} ({error})") from None
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _ROW):
        raise InputError(f"{path}: has {pixels.dtype} pixels {pixels.shape}, expected uint8 ({len(labels)}, {_ROW})")
    if labels.dtype.kind != "i" or not 0 <= labels.min() <= labels.max() < kind.classes:
        raise InputError(f"{path}: has labels other than 0 to {kind.classes - 1}")
    return ArrayImages(torch.from_numpy(pixels.copy()).view(-1, 3, 32, 32), torch.from_numpy(labels).long())


class _Plain(pickle.Unpickler):
    """An unpickler that reads arrays, lists and strings, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)


DEBIAN_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
_PARTS = ("train", "t10k")


def read_fashion_mnist(root: Path) -> tuple[ArrayImages, ArrayImages]:
    """The 60,000 training and the 10,000 test images, uint8 [N, 1, 28, 28].

    The files may be below `root` in torchvision's layout, in `root` itself, or where Debian's
    package installs them. If they are in none of these places, they are downloaded below `root`.

    Raises:
        InputError: the files cannot be found or downloaded; says where to put them and how to get them.
    """
    layout = root / "FashionMNIST" / "raw"
    places = (layout, root, DEBIAN_DIRECTORY)
    if not any(map(_is_complete, places)):
        _download(root, places)
    train, test = (_read_part(next(filter(_is_complete, places)), part) for part in _PARTS)
    return train, test


def read_idx(path: Path) -> Tensor:
    """Read an idx file of bytes, gzipped or not: 0, 0, 8, the rank, the sizes (big endian), the data.

    Raises:
        InputError: the file is truncated, or is not an idx file of bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    rank = content[3] if content[:3] == b"\0\0\x08" else 0
    header = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", content[4:header]) if rank and len(content) > header else ()
    if not shape or len(content) != header + math.prod(shape):
        raise InputError(f"{path}: is not a complete idx file of bytes")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).view(shape)


def _read_part(place: Path, part: str) -> ArrayImages:
    image_path, label_path = (_existing(place, name) for name in _names(part))
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        shapes = f"{tuple(images.shape)} and {tuple(labels.shape)}"
        raise InputError(f"{image_path} and its labels have the shapes {shapes}, expected (N, 28, 28) and (N,)")
    return ArrayImages(images.unsqueeze(1), labels.long())


def _names(part: str) -> tuple[str, str]:
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def _existing(place: Path, name: str) -> Path:
    plain = place / name
    return plain if plain.exists() else place / f"{name}.gz"


def _is_complete(place: Path) -> bool:
    return all(_existing(place, name).exists() for part in _PARTS for name in _names(part))


def _download(root: Path, places: tuple[Path, ...]) -> None:
    """Download to a temporary directory and rename it, because several ranks may download at once."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".FashionMNIST.") as scratch:
            torchvision.datasets.FashionMNIST(scratch, download=True)
            (Path(scratch) / "FashionMNIST").rename(root / "FashionMNIST")
    except (OSError, RuntimeError) as error:
        if any(map(_is_complete, places)):
            return
        looked = ", ".join(map(str, places))
        names = ", ".join(f"{name}.gz" for part in _PARTS for name in _names(part))
        raise InputError(
            f"Fashion-MNIST is neither in {looked} nor could it be downloaded ({' '.join(str(error).split())}): "
            f"run `apt install {DEBIAN_PACKAGE}`, or put {names} into {places[0]}"
        ) from None


@dataclass(frozen=True, eq=False)
class PairImages:
    """Images that are the means of two others. They are computed when they are needed.

    Attributes:
        source: the images to blend.
        first, second: indices of the two images of each blend, int64 [N] each.
        labels: int64 [N].
    """

    source: ArrayImages
    first: Tensor
    second: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the source, of the chosen pairs and of the labels."""
        digest = hashlib.sha256(f"mean of two/{self.source.fingerprint}".encode())
        for part in (self.first, self.second, self.labels):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def image(self, index: int) -> Tensor:
        return self.pixels(torch.tensor([index]))[0]

    def pixels(self, indices: Tensor) -> Tensor:
        """Several blends, uint8 [N, C, H, W]; halves are rounded up."""
        one, other = (self.source.array[part[indices]].to(torch.int16) for part in (self.first, self.second))
        return ((one + other + 1) >> 1).to(torch.uint8)

    def select(self, indices: Tensor) -> "PairImages":
        return PairImages(self.source, self.first[indices], self.second[indices], self.labels[indices])


def blended_pairs(source: ArrayImages, count: int, stream: str) -> PairImages:
    """Blends of images of two different classes. Every pair of classes occurs equally often.

    Blend i depends on `stream` and i only, so a smaller number of blends is the beginning of a larger one.

    Args:
        source: images in which all classes 0, 1, ... occur.
        stream: name of the random sequence; sequences of different names are independent.
    """
    pairs = torch.tensor(list(combinations(range(int(source.labels.max()) + 1), 2)))
    labels = torch.arange(count) % len(pairs)
    first, second = (_members(source.labels, pairs[labels, side], f"{stream}/{side}") for side in (0, 1))
    return PairImages(source, first, second, labels)


def _members(labels: Tensor, classes: Tensor, stream: str) -> Tensor:
    """The index of a random image for each of the given classes, int64 [N]."""
    by_class, sizes = labels.argsort(stable=True), labels.bincount()
    starts = sizes.cumsum(0) - sizes
    places = random_keys(stream, torch.arange(len(classes))) % sizes[classes]
    return by_class[starts[classes] + places]
