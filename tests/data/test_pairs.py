"""Blends are means of two images of different classes, balanced, and a function of stream and index alone."""

from itertools import combinations

import pytest
import torch

from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.known import blended_pairs

CLASSES = 4
PAIRS = list(combinations(range(CLASSES), 2))


@pytest.fixture
def source():
    """Eight images of one grey each, two of each class, all greys different and some odd."""
    array = torch.tensor([0, 255, 101, 7, 60, 200, 33, 90], dtype=torch.uint8)
    return ArrayImages(array.view(-1, 1, 1, 1).expand(-1, 1, 3, 3).clone(), torch.arange(8) % CLASSES)


def test_a_blend_is_the_mean_of_two_images_of_its_classes(source):
    pairs = blended_pairs(source, 60, "test")
    grey = source.array[:, 0, 0, 0].double()
    wanted = ((grey[pairs.first] + grey[pairs.second]) / 2 + 0.5).floor()  # halves go up
    pixels = pairs.pixels(torch.arange(60))
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (60, 1, 3, 3))
    assert torch.equal(pixels, wanted.to(torch.uint8).view(-1, 1, 1, 1).expand_as(pixels))
    classes = zip(source.labels[pairs.first].tolist(), source.labels[pairs.second].tolist(), strict=True)
    assert list(classes) == [PAIRS[label] for label in pairs.labels.tolist()]


def test_every_pair_of_classes_is_equally_often(source):
    assert blended_pairs(source, 60, "test").labels.bincount().tolist() == [10] * len(PAIRS)


def test_every_image_is_used_and_streams_differ(source):
    one, other = (blended_pairs(source, 600, stream) for stream in ("one", "other"))
    assert set(one.first.tolist()) | set(one.second.tolist()) == set(range(8))
    assert not torch.equal(one.first, other.first)
    assert not torch.equal(one.second, other.second)


def test_fewer_blends_are_the_first_of_more(source):
    few, many = (blended_pairs(source, count, "test") for count in (20, 60))
    assert few.fingerprint == many.select(torch.arange(20)).fingerprint != many.fingerprint


def test_a_selection_has_the_blends_asked_for(source):
    pairs = blended_pairs(source, 60, "test")
    wanted = torch.tensor([41, 3, 3])
    some = pairs.select(wanted)
    assert (len(some), some.labels.tolist()) == (3, pairs.labels[wanted].tolist())
    assert torch.equal(some.pixels(torch.arange(3)), pairs.pixels(wanted))
    assert torch.equal(some.image(1), pairs.image(3))


@pytest.mark.parametrize("changed", ["source", "first", "second", "labels"])
def test_the_fingerprint_sees_all_that_makes_a_blend(source, changed):
    pairs, others = blended_pairs(source, 60, "test"), blended_pairs(source, 60, "test")
    other = ArrayImages(255 - source.array, source.labels) if changed == "source" else getattr(others, changed).flip(0)
    values = {name: getattr(others, name) for name in ("source", "first", "second", "labels")} | {changed: other}
    assert type(pairs)(**values).fingerprint != pairs.fingerprint
