"""CIFAR-10 (Krizhevsky, 2009) in the python version, as torchvision lays it out."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages

FOLDER = "cifar-10-batches-py"
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_ROW = 3 * 32 * 32
# The only names in CIFAR's pickles; any other name could run code.
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_cifar10(root: Path) -> tuple[ArrayImages, ArrayImages]:
    """Read the 50,000 training and the 10,000 test images, uint8 [N, 3, 32, 32].

    The files may be in `root/cifar-10-batches-py` or in `root` itself.

    Raises:
        InputError: a file is missing or damaged; names the directories that were searched.
    """
    places = (root / FOLDER, root)
    found = [place for place in places if all((place / name).is_file() for name in (*TRAIN, *TEST))]
    if not found:
        raise InputError(
            f"CIFAR-10 is neither in {places[0]} nor in {places[1]}, expected {', '.join((*TRAIN, *TEST))};"
            f" unpack {_ARCHIVE} in {root}, or set data.root"
        )
    train, test = (_read(found[0], names) for names in (TRAIN, TEST))
    return train, test


def _read(place: Path, names: tuple[str, ...]) -> ArrayImages:
    batches = [_read_batch(place / name) for name in names]
    return ArrayImages(torch.cat([batch.array for batch in batches]), torch.cat([batch.labels for batch in batches]))


def _read_batch(path: Path) -> ArrayImages:
    try:
        content = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        pixels, labels = np.asarray(content["data"]), np.asarray(content["labels"])
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path}: is not a batch of CIFAR-10 ({error})") from None
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _ROW):
        raise InputError(f"{path}: has {pixels.dtype} pixels {pixels.shape}, expected uint8 ({len(labels)}, {_ROW})")
    if labels.dtype.kind != "i" or not 0 <= labels.min() <= labels.max() <= 9:
        raise InputError(f"{path}: has labels other than 0 to 9")
    return ArrayImages(torch.from_numpy(pixels.copy()).view(-1, 3, 32, 32), torch.from_numpy(labels).long())


class _Plain(pickle.Unpickler):
    """An unpickler that reads arrays, lists and strings, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)
