"""One resampling is rotation, crop, resizing and mirroring; the jitter is torchvision's."""

import math

import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop, functional

from fewshot_nas.data import geometry
from fewshot_nas.data.geometry import cuts, jittered, random_box
from fewshot_nas.data.images import random_keys

KEYS = random_keys("geometry", torch.arange(300))
SIDE = 24


@pytest.fixture
def ramp():
    """A gradient in both directions and a wave, uint8 [3, 60, 80]; every place has its own colour."""
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    return torch.stack([1.5 * x + 40, 2 * y + 40, 127 + 40 * torch.sin((x + y) / 15)]).round().to(torch.uint8)


def one_after_the_other(image, draw, degrees):
    """The same steps as full passes over the image."""
    angle = degrees * (1 - 2 * draw["angle"])
    turned = functional.rotate(image.float(), angle, functional.InterpolationMode.BILINEAR)
    box = random_box(tuple(image.shape[1:]), draw)
    edges = round(box.top), round(box.left), round(box.height), round(box.width)
    cut = functional.resized_crop(turned, *edges, [SIDE, SIDE], antialias=False)
    return cut.flip(-1) if draw["mirror"] < 0.5 else cut


@pytest.mark.parametrize("degrees", [0, 15])
def test_one_resampling_is_all_steps_one_after_the_other(ramp, degrees):
    together = cuts([ramp] * 40, KEYS[:40], SIDE, degrees=degrees).float()
    for mine, draw in zip(together, geometry._draws(KEYS[:40]), strict=True):
        expected = one_after_the_other(ramp, draw, degrees)
        seen = (mine > 0).all(0) & (expected > 0).all(0)  # beside the corners that the rotation uncovers
        assert seen.float().mean() > 0.7
        assert (mine - expected).abs().amax(0)[seen].median() <= 3


@pytest.mark.parametrize("channels", [1, 3])
def test_opencv_gives_the_same_pixels_but_for_rounding(ramp, monkeypatch, channels):
    pytest.importorskip("cv2", "5")
    images = [ramp[:channels], ramp[:channels].permute(1, 2, 0).contiguous().permute(2, 0, 1)] * 100
    theirs = cuts(images, KEYS[:200], SIDE, degrees=15).int()
    monkeypatch.setattr(geometry, "OPENCV", None)
    off = (cuts(images, KEYS[:200], SIDE, degrees=15).int() - theirs).abs()
    assert off.max() <= 1
    assert (off > 0).float().mean() < 0.002


def test_boxes_have_the_areas_and_aspects_of_a_random_resized_crop():
    boxes = [random_box((300, 400), draw) for draw in geometry._draws(KEYS)]
    assert all(box.top >= 0 and box.top + box.height <= 300.001 for box in boxes)
    assert all(box.left >= 0 and box.left + box.width <= 400.001 for box in boxes)
    areas = torch.tensor([box.height * box.width / 120_000 for box in boxes])
    theirs = RandomResizedCrop(9)
    torch.manual_seed(0)
    drawn = [theirs.make_params([torch.empty(3, 300, 400)]) for _ in range(1000)]
    expected = sum(params["height"] * params["width"] / 120_000 for params in drawn) / len(drawn)
    assert areas.min() > 0.08
    assert areas.mean() == pytest.approx(expected, abs=0.04)  # three standard errors
    logs = torch.tensor([math.log(box.width / box.height) for box in boxes])
    assert logs.abs().max() <= math.log(4 / 3) + 1e-6
    assert logs.mean() == pytest.approx(0, abs=0.05)


def test_a_box_that_never_fits_is_the_largest_centred_one():
    box = random_box((10, 1000), geometry._draws(KEYS[:1])[0])
    assert (box.height, box.width) == pytest.approx((10, 40 / 3))
    assert box.left + box.width / 2 == pytest.approx(500)


def test_half_of_all_are_mirrored_and_both_ways_are_turned():
    draws = geometry._draws(KEYS)
    assert 110 < sum(draw["mirror"] < 0.5 for draw in draws) < 190
    assert 110 < sum(draw["angle"] < 0.5 for draw in draws) < 190


def test_a_large_picture_is_decoded_smaller_and_shows_the_same():
    class Counted:
        size = (960, 1280)

        def __init__(self):
            self.shrinks = []

        def read(self, shrink=1):
            self.shrinks.append(shrink)
            return functional.resize(whole, [960 // shrink, 1280 // shrink], antialias=True)

    y, x = torch.meshgrid(torch.arange(960.0), torch.arange(1280.0), indexing="ij")
    whole = torch.stack([x / 6, y / 4, 127 + 90 * torch.sin((x + y) / 200)]).round().to(torch.uint8)
    picture = Counted()
    small, full = cuts([picture], KEYS[:1], SIDE, degrees=15), cuts([whole], KEYS[:1], SIDE, degrees=15)
    assert picture.shrinks[0] > 4
    assert (small.float() - full.float()).abs().median() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_the_jitter_is_brightness_then_contrast(random_image, channels):
    batch = random_image(5, 6, channels, 20, 30)
    brightness, contrast = torch.linspace(0.5, 1.5, 6), torch.linspace(1.4, 0.6, 6)
    jitter = jittered(batch, brightness, contrast)
    for image, mine, first, second in zip(batch, jitter, brightness.tolist(), contrast.tolist(), strict=True):
        expected = functional.adjust_contrast(functional.adjust_brightness(image, first), second)
        assert (mine.int() - expected.int()).abs().max() <= 2  # torchvision cuts fractions off, here they are rounded


def test_the_jitter_of_an_image_does_not_depend_on_the_device_s_batch(random_image, monkeypatch):
    """A GPU takes a whole batch at once, the CPU one image at a time."""
    batch, factors = random_image(6, 5, 3, 9, 9), torch.linspace(0.5, 1.5, 5)
    whole = geometry._jittered(batch, *(factors.view(-1, 1, 1, 1) for _ in range(2)))
    assert torch.equal(jittered(batch, factors, factors), whole)
