"""Blends of two images of different classes: a small data set becomes as large as needed.

A network has to recognise both classes of a blend. This is so hard that small networks differ by many points of
accuracy after a short training, unlike on the single images.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from fewshot_nas.data.images import ArrayImages, random_keys


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
