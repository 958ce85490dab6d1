"""Image files are decoded to the same pixels by whichever decoder is there, and no larger than needed."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from fewshot_nas.data import pictures
from fewshot_nas.data.pictures import FilePicture


@pytest.fixture
def smooth(tmp_path):
    """A JPEG and a PNG file of 120 x 160 pixels with slow waves, which can be told apart at any size."""
    y, x = np.mgrid[0:120, 0:160]
    image = np.stack([127 + 100 * np.sin(x / 25), 127 + 100 * np.cos(y / 20), x], -1).astype(np.uint8)
    for suffix in ("jpg", "png"):
        Image.fromarray(image).save(tmp_path / f"smooth.{suffix}", quality=95)
    return tmp_path


@pytest.mark.parametrize("form", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}])
def test_both_decoders_give_the_same_pixels(tmp_path, random_image, monkeypatch, form):
    pytest.importorskip("simplejpeg")
    Image.fromarray(random_image(3, 37, 43, 3).numpy()).save(tmp_path / "a.jpg", **form)
    fast = FilePicture(tmp_path / "a.jpg").read()
    monkeypatch.setattr(pictures, "decode_jpeg", None)
    assert torch.equal(fast, FilePicture(tmp_path / "a.jpg").read())


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("shrink", [2, 4])
def test_a_smaller_picture_shows_the_same(smooth, suffix, shrink):
    picture = FilePicture(smooth / f"smooth.{suffix}")
    whole, small = picture.read(), FilePicture(picture.path).read(shrink)
    assert (picture.size, whole.shape) == ((120, 160), (3, 120, 160))
    assert small.shape == (3, 120 // shrink, 160 // shrink)
    means = torch.nn.functional.avg_pool2d(whole[None].float(), shrink)[0]
    assert (small.float() - means).abs().mean() < 3


def test_the_fast_decoder_leaves_what_it_cannot_read_to_pillow(smooth, monkeypatch):
    def refuse(content):
        raise ValueError("no")

    expected = FilePicture(smooth / "smooth.jpg").read()
    monkeypatch.setattr(pictures, "decode_jpeg", refuse)
    assert torch.equal(FilePicture(smooth / "smooth.jpg").read(), expected)


@pytest.mark.parametrize("shrink", [1, 2, 4])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_picture_is_turned_as_its_orientation_says(smooth, suffix, shrink):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was held upright
    with Image.open(smooth / "smooth.png") as image:
        image.save(smooth / f"turned.{suffix}", exif=exif)
    picture = FilePicture(smooth / f"turned.{suffix}")
    assert picture.size == (160, 120)
    turned, straight = picture.read(shrink), FilePicture(smooth / "smooth.png").read(shrink)
    assert turned.shape == (3, 160 // shrink, 120 // shrink)
    assert (turned.float() - straight.rot90(-1, (1, 2)).float()).abs().mean() < 3


def test_broken_exif_data_are_none(smooth):
    with Image.open(smooth / "smooth.png") as image:
        image.save(smooth / "broken.jpg", exif=b"Exif\0\0no TIFF header")
    assert FilePicture(smooth / "broken.jpg").read().shape == (3, 120, 160)


def test_transparent_pixels_are_on_the_background(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:4, 2:4, 3] = 255  # black, on a ground that nobody sees
    Image.fromarray(ink).save(tmp_path / "ink.png")
    white, red = (FilePicture(tmp_path / "ink.png", ground).read() for ground in ((255, 255, 255), (255, 0, 0)))
    assert (white[:, 3, 3].tolist(), white[:, 0, 0].tolist(), red[:, 0, 0].tolist()) == (
        [0] * 3,
        [255] * 3,
        [255, 0, 0],
    )


def test_the_size_is_known_without_decoding(smooth, monkeypatch):
    monkeypatch.setattr(FilePicture, "_decoded", None)
    assert FilePicture(smooth / "smooth.jpg").size == (120, 160)
