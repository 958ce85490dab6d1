"""Small image files, and images in memory that can be told apart by their first pixel."""

import pytest
import torch
from PIL import Image

from fewshot_nas.data.images import ArrayImages, FileImages, Names


@pytest.fixture
def random_image():
    def make(seed, *shape):
        return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def files(tmp_path, random_image):
    """Seven files of different sizes and forms, in three classes."""
    names = tuple(f"image {index}.{'png' if index % 2 else 'jpg'}" for index in range(7))
    for index, name in enumerate(names):
        image = Image.fromarray(random_image(index, 20 + index, 30 - index, 3).numpy())
        image.convert("L" if index == 3 else "RGB").save(tmp_path / name)
    return FileImages(tmp_path, Names.of(names), torch.tensor([0, 1, 2, 0, 1, 2, 0]))


@pytest.fixture
def numbered():
    """Makes `count` images 8x8 of the value `index`, labelled with the index."""

    def make(count):
        labels = torch.arange(count)
        return ArrayImages(labels.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8), labels)

    return make
