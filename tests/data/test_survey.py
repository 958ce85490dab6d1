"""Copies between parts, images of two labels and odd files are found, whichever way the images are compared."""

import shutil

import pytest
import torch
from PIL import Image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.sources import ImageData, open_data
from fewshot_nas.data.survey import MOST, surveyed

BYTES = 120 * 55_000  # fewer than the pixels, and more than the bytes of all files, each with what opening it costs


@pytest.fixture
def root(tmp_path):
    """Images of two classes in three parts, no two of which are the same; their files have the same few sizes."""
    for red, part in enumerate(("train", "val", "test")):
        for green, name in enumerate(("cat", "dog")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(20):
                image = Image.new("RGB", (100, 100), (red, green, number))
                image.save(tmp_path / part / name / f"{number}.png")
    return tmp_path


@pytest.fixture
def found(root, tmp_path):
    def look(most=MOST, name="folders"):
        doubts, odd = surveyed(open_data(name, root, train_images=None), tmp_path / "cache", most=most)
        return doubts + odd

    return look


def copies(root, count, part="val", of="train"):
    """Copies under other names."""
    for number in range(count):
        shutil.copy(root / of / "cat" / f"{number}.png", root / part / "cat" / f"copy{number}.png")


def test_parts_that_are_apart_say_nothing(found):
    assert found() == ()


@pytest.mark.parametrize("most", [MOST, BYTES])
def test_copies_are_counted_with_two_examples(root, found, most):
    copies(root, 3)
    (said,) = found(most)
    assert said == (
        "3 of the 43 ranking images are training images too (such as val/cat/copy0.png, which is train/cat/0.png and"
        " val/cat/copy1.png, which is train/cat/1.png), so accuracies on them are too high; take them out of one of the"
        " parts"
    )


def test_copies_in_another_form_are_copies(root, found):
    with Image.open(root / "train" / "dog" / "5.png") as image:
        image.convert("RGBA").save(root / "test" / "dog" / "five.tif")
    (said,) = found()
    assert said.startswith("1 of the 41 test images is a training image too (such as test/dog/five.tif, which is train")


def test_test_images_that_are_ranked_on_are_said(root, found):
    copies(root, 2, "test", "val")
    (said,) = found()
    assert said.startswith(
        "2 of the 42 test images are ranking images too (such as test/cat/copy0.png, which is val/cat/0"
    )


@pytest.mark.parametrize("most", [MOST, BYTES])
@pytest.mark.parametrize(("part", "called"), [("val", "ranking"), ("test", "test")])
def test_a_part_that_is_a_link_to_the_training_images_is_refused(root, found, most, part, called):
    shutil.rmtree(root / part)
    (root / part).symlink_to(root / "train")
    for _ in range(2):  # the second time from the cache
        with pytest.raises(
            InputError, match=rf"^all 40 {called} images are training images too \(such as {part}/cat/0"
        ):
            found(most)


def test_the_same_list_twice_is_refused_and_a_list_within_the_test_list_is_meant(root, found):
    lines = [f"{part}/cat/{number}.png {number % 2}\n" for part in ("train", "val") for number in range(20)]
    for name in ("valid", "valid_part2500"):
        (root / f"{name}.txt").write_text("".join(lines[20:]))
    (root / "train.txt").write_text("".join(lines[:20]))
    assert found(name="lists") == ()
    (root / "train.txt").write_text("".join(f"{root / line}" for line in lines[20:]))
    with pytest.raises(InputError, match=r"^all 20 ranking images are training images too"):
        found(name="lists")


def test_copies_are_found_where_only_some_files_can_be_compared(root, found):
    """They are chosen together, because they have one size and one name."""
    shutil.rmtree(root / "val")
    shutil.copytree(root / "train", root / "val")
    with pytest.raises(InputError, match=r"^all \d\d ranking images that were compared are training images too"):
        found(BYTES // 2)


@pytest.mark.parametrize("most", [MOST, BYTES])
def test_two_labels_are_said(root, found, most):
    shutil.copy(root / "train" / "cat" / "1.png", root / "train" / "dog" / "other.png")
    (said,) = found(most)
    assert said == (
        "1 image has two labels (such as train/cat/1.png is cat, train/dog/other.png is dog); which one is right?"
    )


def test_odd_files_are_said_once(root, found):
    for number in range(3):
        Image.new("RGBA", (9, 9), (9, 9, number, 100)).save(root / "train" / "cat" / f"ink{number}.png")
    Image.new("RGBA", (9, 9), (9, 9, 99, 255)).save(root / "train" / "cat" / "full.png")  # nothing shines through
    Image.new("I;16", (9, 9), 40_000).save(root / "val" / "dog" / "deep.png")
    frames = [Image.new("L", (9, 9), value) for value in (70, 80)]
    frames[0].save(root / "val" / "dog" / "moves.gif", save_all=True, append_images=frames[1:])
    where = root / "train" / "cat" / "ink0.png"
    transparent, deep, moving = found()
    assert transparent == (
        f"3 of 126 images have transparent pixels (such as {where}), which are shown on the colour data.background"
    )
    assert deep.startswith("1 of 126 images have 16 bits a channel (such as ")
    assert moving.startswith("1 of 126 images have several frames or pages (such as ")


def test_images_in_memory_are_compared_too(tmp_path, numbered):
    train = numbered(30)
    valid = ArrayImages(train.array[[3, 4]], torch.tensor([3, 5]))
    test = ArrayImages(train.array[[3]] + 100, torch.tensor([3]))
    data = ImageData("mine:images", train, valid, test, 30, (0.5,), (0.5,), "none")
    with pytest.raises(
        InputError, match=r"^all 2 ranking images are training images too \(such as ranking image 0, which"
    ):
        surveyed(data, tmp_path)


def test_a_file_that_is_no_image_is_named(root, found):
    (root / "val" / "dog" / "7.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(InputError, match=r"val/dog/7\.png: cannot be decoded"):
        found()
