"""Speed of the image supply: ours against torchvision's usual pipeline, and from stored images.

    python benchmarks/images.py [--images 256] [--rounds 5] [--workers 0]

Both take the same JPEG files, 500 x 375 pixels of coloured noise with the spectrum of photographs
at about 100 kB each, and do the same to them: rotation by up to 15 degrees, random resized crop to
224 pixels, flip, brightness and contrast jitter. Torchvision's is `ImageFolder`, these transforms in
their usual order, and `DataLoader`; batches of bytes come out on both sides. They take turns, so
that a busy neighbour slows both. Without workers what is counted is processor time of one core,
with workers wall-clock time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from fewshot_nas.data import geometry, pictures
from fewshot_nas.data.cache import stored
from fewshot_nas.data.images import FileImages, Names
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import Photo, Transform

RESOLUTION, BATCH, STORED_SIDE = 224, 32, 256
SIZE = (375, 500)


class CutOnly(Photo):
    """What is left for the CPU where a GPU does the rest."""

    def finish(self, batch: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        return batch


def write_photographs(root: Path, count: int) -> float:
    """JPEG files in two classes; their mean size in bytes."""
    height, width = SIZE
    rng = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    paths = [root / "train" / f"class{number % 2}" / f"{number:05}.jpg" for number in range(count)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.normal(size=(2, 3, *frequency.shape))
        layers = np.fft.irfft2((noise[0] + 1j * noise[1]) / frequency**1.2, SIZE)
        colours = np.array([[1, 0, 0], [0.8, 0.6, 0], [0.8, 0.36, 0.48]])  # channels of photographs are much alike
        mixed = np.einsum("ij,jhw->hwi", colours, layers / layers.std(axis=(1, 2), keepdims=True))
        Image.fromarray((127 + 55 * mixed).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return float(np.mean([path.stat().st_size for path in paths]))


def usual(root: Path, workers: int) -> Iterable[object]:
    """Torchvision's pipeline."""
    steps = [
        transforms.RandomRotation(15),
        transforms.RandomResizedCrop(RESOLUTION),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(brightness=0.5, contrast=0.5),
        transforms.PILToTensor(),
    ]
    folder = ImageFolder(str(root / "train"), transforms.Compose(steps))
    return DataLoader(folder, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def file_images(root: Path) -> FileImages:
    names = sorted(str(path.relative_to(root)) for path in root.glob("train/*/*.jpg"))
    return FileImages(root, Names.of(names), torch.tensor([int("class1" in name) for name in names]))


def seconds_of(epoch: Callable[[], Iterable[object]], clock: Callable[[], float]) -> float:
    start = clock()
    for _ in epoch():
        pass
    return clock() - start


def without_extras(epoch: Callable[[], Iterable[object]]) -> Iterable[object]:
    """An epoch by Pillow and torch alone."""
    with patch.object(pictures, "decode_jpeg", None), patch.object(geometry, "OPENCV", None):
        yield from epoch()


def sides(root: Path, workers: int) -> dict[str, Callable[[], Iterable[object]]]:
    """Epochs of all that is compared, the usual pipeline first."""
    images = file_images(root)
    kept = stored(images, STORED_SIDE, root / "cache")
    torchvision_s = usual(root, workers)

    def ours(source: object, transform: Transform) -> Callable[[], Iterable[object]]:
        batches = TrainBatches(source, transform, batch_size=BATCH, seed=0, workers=workers)  # type: ignore[arg-type]
        return lambda: batches.epoch(0)

    all_here, cut = Photo(RESOLUTION), CutOnly(RESOLUTION)
    plain = {} if workers else {"ours, without the extras": lambda: without_extras(ours(images, all_here))}
    return {
        "torchvision": lambda: torchvision_s,
        **plain,
        "ours": ours(images, all_here),
        "ours, jitter left to the GPU": ours(images, cut),
        f"ours, stored at {STORED_SIDE} px": ours(kept, all_here),
        f"ours, stored at {STORED_SIDE} px, jitter left to the GPU": ours(kept, cut),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = time.perf_counter if options.workers else time.process_time
    with tempfile.TemporaryDirectory() as scratch:
        size = write_photographs(Path(scratch), options.images)
        extra = f"the extras {'are' if find_spec('simplejpeg') and geometry.OPENCV else 'are not'} installed"
        print(f"{options.images} JPEG files of {size / 1000:.0f} kB, {SIZE[1]} x {SIZE[0]} px; {extra}")
        epochs = sides(Path(scratch), options.workers)
        for epoch in epochs.values():
            seconds_of(epoch, clock)  # workers start, files come into memory
        taken = [{name: seconds_of(epoch, clock) for name, epoch in epochs.items()} for _ in range(options.rounds)]
    per = "s" if options.workers else "core-second"
    for name in epochs:
        rate = options.images / median(row[name] for row in taken)
        ratio = median(row["torchvision"] / row[name] for row in taken)
        print(f"{name:50} {rate:6.0f} images/{per} {ratio:6.2f}x")


if __name__ == "__main__":
    main()
