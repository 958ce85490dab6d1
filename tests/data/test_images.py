"""Images from memory and from files, their fingerprints, and fixed parts."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages, FileImages, Names, balanced_indices, calibration_subset

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


def test_files_decode_to_rgb(files):
    assert [tuple(files.image(index).shape) for index in (0, 3)] == [(3, 20, 30), (3, 23, 27)]
    assert {picture.read().dtype for picture in files.pixels(torch.arange(7))} == {torch.uint8}


def test_a_png_decodes_to_what_was_written(tmp_path, random_image):
    image = random_image(1, 9, 7, 3)
    Image.fromarray(image.numpy()).save(tmp_path / "a.png")
    assert torch.equal(FileImages(tmp_path, Names.of(["a.png"]), torch.tensor([0])).image(0), image.permute(2, 0, 1))


@pytest.mark.parametrize(("mode", "colour"), [("L", 70), ("P", 70), ("CMYK", (0, 0, 0, 0)), ("RGBA", (70, 70, 70, 9))])
def test_every_pixel_format_becomes_rgb(tmp_path, mode, colour):
    Image.new(mode, (5, 4), colour).save(tmp_path / "a.tif")
    assert FileImages(tmp_path, Names.of(["a.tif"]), torch.tensor([0])).image(0).shape == (3, 4, 5)


def test_of_sixteen_bits_the_upper_count_and_of_thirty_two_none(tmp_path):
    Image.fromarray(np.full((4, 5), 0x8765, dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((4, 5), 0.5, dtype=np.float32)).save(tmp_path / "deeper.tif")
    images = FileImages(tmp_path, Names.of(["deep.png", "deeper.tif"]), torch.tensor([0, 0]))
    assert images.image(0).unique().tolist() == [0x87]
    with pytest.raises(InputError, match=r"deeper\.tif: has the pixel format F, expected 8 or 16 bits"):
        images.image(1)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n and no more", b"\xff\xd8\xff and no more"])
def test_a_corrupt_image_names_its_path(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.png: cannot be decoded as an image") as error:
        FileImages(tmp_path, Names.of(["broken.png"]), torch.tensor([0])).image(0)
    assert "\n" not in str(error.value)
    assert "object at 0x" not in str(error.value)


def test_a_missing_image_names_its_path(files):
    (files.root / files.names[4]).unlink()
    with pytest.raises(InputError, match=r"image 4\.jpg: cannot be decoded"):
        files.image(4)
    with pytest.raises(InputError, match=r"image 4\.jpg: cannot be read"):
        _ = files.fingerprint


def test_select_keeps_the_order_asked_for(files, numbered):
    wanted = torch.tensor([5, 0, 2])
    for images in (files, numbered(7)):
        chosen = images.select(wanted)
        assert torch.equal(chosen.labels, images.labels[wanted])
        assert all(torch.equal(chosen.image(place), images.image(index)) for place, index in enumerate(wanted.tolist()))


@pytest.mark.parametrize("change", ["pixel", "label", "shape", "order"])
def test_the_fingerprint_of_an_array_tells(numbered, change):
    images = numbered(6)
    array, labels = images.array.clone(), images.labels.clone()
    if change == "pixel":
        array[3, 0, 2, 2] += 1
    elif change == "label":
        labels[5] = 0
    elif change == "shape":
        array = array.view(6, 1, 4, 16)
    else:
        array, labels = array.flip(0), labels.flip(0)
    assert ArrayImages(array, labels).fingerprint != images.fingerprint
    assert numbered(6).fingerprint == images.fingerprint


def test_the_fingerprint_of_files_tells_list_labels_and_sizes(files):
    others = [
        dataclasses.replace(files, labels=files.labels.flip(0)),
        files.select(torch.arange(6)),
        files.select(torch.tensor([1, 0, 2, 3, 4, 5, 6])),
    ]
    assert len({files.fingerprint, *(other.fingerprint for other in others)}) == 4
    with (files.root / files.names[2]).open("ab") as stream:
        stream.write(b"more")
    assert dataclasses.replace(files).fingerprint != files.fingerprint


def test_the_fingerprint_of_files_survives_a_move(files, tmp_path):
    moved = shutil.copytree(tmp_path, tmp_path / "elsewhere")
    assert dataclasses.replace(files, root=moved).fingerprint == files.fingerprint


@given(LABELS, st.data())
def test_a_balanced_part_takes_no_class_before_its_turn(labels, data):
    count = data.draw(st.integers(0, len(labels)))
    chosen = balanced_indices(labels, count)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    taken, there = (part.bincount(minlength=5) for part in (labels[chosen], labels))
    unfinished = taken[taken < there]
    assert not len(unfinished) or taken.max() <= unfinished.min() + 1


@given(LABELS, st.data())
def test_a_smaller_balanced_part_is_in_the_larger(labels, data):
    more = data.draw(st.integers(0, len(labels)))
    fewer = data.draw(st.integers(0, more))
    assert set(balanced_indices(labels, fewer).tolist()) <= set(balanced_indices(labels, more).tolist())


def test_calibration_images_are_distinct_mixed_and_follow_the_seed(numbered):
    images = numbered(100)
    first, again, other = (calibration_subset(images, 40, seed).labels.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len(set(first)) == 40
    assert first != sorted(first)


def test_calibration_takes_all_images_where_there_are_fewer(numbered):
    assert sorted(calibration_subset(numbered(5), 64, 0).labels.tolist()) == [0, 1, 2, 3, 4]
