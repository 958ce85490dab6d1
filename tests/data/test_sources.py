"""Data sets: their splits are fixed, balanced and apart; what is wrong with a list is said."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data import known
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.sources import ImageData, open_data

NOWHERE = Path("nowhere")


def rows(*parts):
    return Counter(row.tobytes() for images in parts for row in images.array.numpy())


def class_counts(images):
    return set(images.labels.bincount().tolist())


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "train.txt").write_text("a 1.jpg 0\nb.jpg,2\nc.jpg 1\n")
    (tmp_path / "valid_part2500.txt").write_text("v.jpg 1\n")
    (tmp_path / "valid.txt").write_text("v.jpg 1\nw.jpg 0\n")
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    for part, count in (("train", 2), ("val", 4)):
        for name in ("dog", "cat"):
            directory = tmp_path / part / name
            directory.mkdir(parents=True)
            for number in range(count):
                (directory / f"{number}.JPEG").touch()
    return tmp_path


def test_digits_are_split_into_three_balanced_parts():
    data = open_data("digits", NOWHERE)
    assert [len(data.train), len(data.valid), len(data.test)] == [1197, 300, 300]
    assert class_counts(data.valid) == class_counts(data.test) == {30}
    pixels, labels = load_digits(return_X_y=True)
    everything = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    whole = ArrayImages(everything, torch.from_numpy(labels))
    assert rows(data.train, data.valid, data.test) == rows(whole)
    assert max(rows(whole).values()) == 1


def test_the_split_is_the_same_every_time():
    first, second = (open_data("digits", NOWHERE) for _ in range(2))
    for part in ("train", "valid", "test"):
        assert getattr(first, part).fingerprint == getattr(second, part).fingerprint


def test_mean_and_std_are_those_of_the_digits():
    data = open_data("digits", NOWHERE)
    pixels = torch.cat([part.array for part in (data.train, data.valid, data.test)]) / 255
    assert pixels.mean().item() == pytest.approx(data.mean[0], abs=1e-4)
    assert pixels.std().item() == pytest.approx(data.std[0], abs=1e-4)


@pytest.fixture(scope="module")
def fashion_data():
    if not known.DEBIAN_DIRECTORY.is_dir():
        pytest.skip(f"needs the Debian package {known.DEBIAN_PACKAGE}")
    return open_data("fashion_mnist", NOWHERE)


def test_fashion_mnist_holds_out_a_balanced_part(fashion_data):
    assert [len(fashion_data.train), len(fashion_data.valid), len(fashion_data.test)] == [50_000, 10_000, 10_000]
    assert class_counts(fashion_data.valid) == {1000}
    assert class_counts(fashion_data.train) == {5000}


def test_fashion_mnist_never_trains_on_what_it_ranks_on(fashion_data):
    everything, _ = known.read_fashion_mnist(NOWHERE)
    assert rows(fashion_data.train, fashion_data.valid) == rows(everything)


def test_mean_and_std_are_those_of_fashion_mnist(fashion_data):
    pixels = torch.cat([fashion_data.train.array, fashion_data.valid.array]).double() / 255
    assert pixels.mean().item() == pytest.approx(fashion_data.mean[0], abs=1e-4)
    assert pixels.std().item() == pytest.approx(fashion_data.std[0], abs=1e-4)


@pytest.fixture(scope="module")
def pair_data(fashion_data):
    return open_data("fashion_pairs", NOWHERE, train_images=9000)


def test_fashion_pairs_are_balanced(pair_data):
    assert [len(pair_data.train), len(pair_data.valid), len(pair_data.test)] == [9000, 10_000, 10_000]
    assert pair_data.num_classes == 45
    assert class_counts(pair_data.train) == {200}
    assert class_counts(pair_data.valid) == class_counts(pair_data.test) == {222, 223}


def test_the_parts_of_fashion_pairs_share_no_garment(pair_data, fashion_data):
    for part in ("train", "valid", "test"):
        assert rows(getattr(pair_data, part).source) == rows(getattr(fashion_data, part))


def test_mean_and_std_are_those_of_fashion_pairs(pair_data):
    pixels = pair_data.train.pixels(torch.arange(9000)).double() / 255
    assert pixels.mean().item() == pytest.approx(pair_data.mean[0], abs=2e-3)
    assert pixels.std().item() == pytest.approx(pair_data.std[0], abs=2e-3)


def test_lists_are_read_from_the_three_files(lists):
    data = open_data("lists", lists)
    assert tuple(data.train.names) == ("a 1.jpg", "b.jpg", "c.jpg")
    assert data.train.labels.tolist() == [0, 2, 1]
    assert (len(data.valid), len(data.test), data.num_classes) == (1, 2, 3)


@pytest.mark.parametrize(
    ("line", "name", "label"),
    [
        ("dir/a.jpg 3", "dir/a.jpg", 3),
        ("dir/a.jpg,3", "dir/a.jpg", 3),
        ("  dir/a.jpg\t 3  ", "dir/a.jpg", 3),
        ("dir/a.jpg , 12", "dir/a.jpg", 12),
        ("my dir/a, b 2.jpg 0", "my dir/a, b 2.jpg", 0),
        ("/somewhere/a.jpg 1", "/somewhere/a.jpg", 1),
        ("\ufeffa.jpg 1\r", "a.jpg", 1),
        ("\n\na.jpg 1\n\n", "a.jpg", 1),
    ],
)
def test_a_line_is_split_at_its_last_separator(lists, line, name, label):
    (lists / "train.txt").write_text(line + "\nother.jpg 5\n", encoding="utf-8", newline="")
    train = open_data("lists", lists, num_classes=20).train
    assert (list(train.names), train.labels.tolist()) == ([name, "other.jpg"], [label, 5])


@pytest.mark.parametrize(
    "line", ["a.jpg", "7", "a.jpg x", "a.jpg -1", "a.jpg 1.5", "a.jpg;1", ",1", "a.jpg,,1", "a 9999999999"]
)
def test_a_bad_line_is_shown_with_file_and_number(lists, line):
    (lists / "valid.txt").write_text(f"w.jpg 0\n\n{line}\n")
    with pytest.raises(InputError, match=rf"valid\.txt: line 3 is '{line}', expected a path and a label"):
        open_data("lists", lists)


@pytest.mark.parametrize("name", ["train.txt", "valid_part2500.txt", "valid.txt"])
def test_a_missing_list_says_what_is_expected(lists, name):
    (lists / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file; expected train.txt, valid_part2500.txt, valid.txt"):
        open_data("lists", lists)


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_list_is_refused(lists, content):
    (lists / "train.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.txt: no images"):
        open_data("lists", lists)


def test_a_list_may_name_files_that_are_no_utf_8(lists):
    name = os.fsdecode(b"caf\xe9.jpg")
    (lists / "train.txt").write_bytes(b"caf\xe9.jpg 0\nb.jpg 1\n")
    Image.new("RGB", (8, 8)).save(lists / name)
    images = open_data("lists", lists).train
    assert images.names[0] == name
    assert images.pixels(torch.tensor([0]))[0].size == (8, 8)


def test_a_list_that_is_no_text_is_refused(lists):
    (lists / "train.txt").write_bytes(b"\xff\xfe\x00 1")
    with pytest.raises(InputError, match=r"train\.txt: cannot be read as text"):
        open_data("lists", lists)


def test_folders_number_their_classes_by_name(folders):
    (folders / "train" / "cat" / "Thumbs.db").touch()
    data = open_data("folders", folders)
    assert tuple(data.train.names) == ("train/cat/0.JPEG", "train/cat/1.JPEG", "train/dog/0.JPEG", "train/dog/1.JPEG")
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert (data.num_classes, list(data.valid.names)) == (2, list(data.test.names))


def test_folders_rank_on_a_balanced_part_of_val(folders):
    data = open_data("folders", folders, valid_images=4)
    assert data.valid.labels.tolist() == [0, 0, 1, 1]
    assert set(data.valid.names) < set(data.test.names)


def test_a_class_without_training_images_is_refused(folders):
    (folders / "val" / "cow").mkdir()
    with pytest.raises(InputError, match=r"val/cow: no such class in .*train"):
        open_data("folders", folders)


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_folders_say_what_is_expected(folders, part):
    (folders / part).rename(folders / "away")
    with pytest.raises(InputError, match=rf"{part}: no such directory; expected train/<class>/ and val/<class>/"):
        open_data("folders", folders)


def test_folders_without_images_are_refused(tmp_path):
    for part in ("train", "val"):
        (tmp_path / part / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match=r"train/cat: no images that can be read"):
        open_data("folders", tmp_path)


def test_fewer_images_are_balanced_and_a_part_of_the_whole():
    data, whole = open_data("digits", NOWHERE, train_images=100, valid_images=20), open_data("digits", NOWHERE)
    assert (class_counts(data.train), class_counts(data.valid)) == ({10}, {2})
    assert rows(data.train) < rows(whole.train)
    assert rows(data.valid) < rows(whole.valid)
    assert data.test.fingerprint == whole.test.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_images": 0}, r"digits: train_images is 0, expected 1\.\.1197"),
        ({"train_images": 5000}, r"digits: train_images is 5000, expected 1\.\.1197"),
        ({"valid_images": -1}, r"digits: valid_images is -1, expected 1\.\.300"),
        ({"num_classes": 9}, "digits: num_classes is 9, but the labels need 10"),
    ],
)
def test_a_size_that_cannot_be_had_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        open_data("digits", NOWHERE, **settings)


def test_a_network_may_have_more_classes_than_the_labels():
    assert open_data("digits", NOWHERE, num_classes=12).num_classes == 12


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match="'cifar', expected one of digits, cifar10, cifar100, fashion_mnist, fashion_pairs, lists, parts,",
    ):
        open_data("cifar", NOWHERE)


def draw(root, side, *parts):
    """Three images of each of two classes, in these parts."""
    for part in parts:
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                Image.new("RGB", (side + 20, side)).save(root / part / name / f"{number}.png")


@pytest.mark.parametrize(("side", "recipe", "said"), [(40, "shift", "small images"), (64, "photo", "photographs")])
def test_the_augmentation_follows_the_images_size_and_is_said(tmp_path, side, recipe, said):
    draw(tmp_path, side, "train", "val")
    data = open_data("folders", tmp_path)
    assert data.recipe == recipe
    assert any(f"as {said}, because their shorter side is {side} pixels" in note for note in data.notes)


def test_lists_are_of_photographs_of_any_size(tmp_path):
    draw(tmp_path, 30, "train")
    lines = "".join(f"train/{name}/0.png {label}\n" for label, name in enumerate(("cat", "dog")))
    for name in ("train", "valid", "valid_part2500"):
        (tmp_path / f"{name}.txt").write_text(lines)
    assert open_data("lists", tmp_path).recipe == "photo"


def test_folders_may_have_test_images(tmp_path):
    draw(tmp_path, 8, "train", "val", "test")
    data = open_data("folders", tmp_path)
    assert {name.split("/")[0] for name in data.valid.names} == {"val"}
    assert {name.split("/")[0] for name in data.test.names} == {"test"}
    assert not any("is not there" in note for note in data.notes)


def test_folders_without_test_images_say_so(tmp_path):
    draw(tmp_path, 8, "train", "val")
    data = open_data("folders", tmp_path)
    assert any(f"{tmp_path / 'test'} is not there" in note for note in data.notes)


def test_an_unknown_class_among_the_test_images_is_refused(tmp_path):
    draw(tmp_path, 8, "train", "val", "test")
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(InputError, match=r"test/cow: no such class in .*train"):
        open_data("folders", tmp_path)


def test_an_empty_class_is_refused(folders):
    (folders / "train" / "ant").mkdir()
    with pytest.raises(InputError, match=r"train/ant: no images that can be read \(the directory has no files\)"):
        open_data("folders", folders)
    (folders / "train" / "ant" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"train/ant: no images that can be read \(the directory has only 1 \.txt\)"):
        open_data("folders", folders)


def test_everything_that_pillow_reads_is_read_and_the_rest_is_said(folders):
    """As torchvision's ImageFolder does, also in directories below a class's."""
    cat = folders / "train" / "cat"
    deep = cat / "kitten" / "grey"
    deep.mkdir(parents=True)
    (cat / ".thumbnails").mkdir()
    (cat / "link").symlink_to(folders / "val" / "cat")
    for name in ("a.BMP", "b.tif", "c.gif", "d.jfif", "e.jp2"):
        (deep / name).touch()
    for name in ("._0.JPEG", ".DS_Store", ".thumbnails/0.png", "notes.txt", "table.h5", "LICENSE"):
        (cat / name).touch()
    (folders / "train" / "lost.png").touch()
    data = open_data("folders", folders)
    read = [f"train/cat/kitten/grey/{name}" for name in ("a.BMP", "b.tif", "c.gif", "d.jfif", "e.jp2")]
    read = ["train/cat/0.JPEG", "train/cat/1.JPEG", *read, *(f"train/cat/link/{number}.JPEG" for number in range(4))]
    assert list(data.train.names) == [*read, "train/dog/0.JPEG", "train/dog/1.JPEG"]
    assert data.train.labels.tolist() == [0] * 11 + [1] * 2
    said = (
        f"{folders / 'train'}: 20 files found, 13 read (8 .jpeg, 1 .bmp, 1 .tif, 1 .gif, 1 .jfif, 1 .jp2), 7 left out"
        " (3 hidden, 1 beside the class directories, 1 without ending, 1 .txt, 1 .h5)"
    )
    assert data.notes[0] == said
    assert data.notes[1] == f"{folders / 'val'}: 8 files found, 8 read (8 .jpeg)"


def test_a_link_to_a_directory_above_is_refused(folders):
    (folders / "train" / "cat" / "again").symlink_to(folders / "train")
    with pytest.raises(InputError, match=r"train/cat/again/cat: is a link to a directory that it lies in|again"):
        open_data("folders", folders)


def test_hidden_directories_are_no_classes(folders):
    (folders / "train" / ".ipynb_checkpoints").mkdir()
    assert open_data("folders", folders).num_classes == 2


@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_class_without_validation_images_is_said(folders, how):
    shutil.rmtree(folders / "val" / "dog")
    if how == "empty":
        (folders / "val" / "dog").mkdir()
    notes = open_data("folders", folders).notes
    assert any("val: no images of class dog, so the ranking does not consider them" in note for note in notes)


def test_a_gap_in_the_labels_is_refused_unless_it_is_meant(lists):
    (lists / "train.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 17\n")
    with pytest.raises(InputError, match=r"no training image has label 2, but labels go up to 17; number the classes"):
        open_data("lists", lists)
    assert open_data("lists", lists, num_classes=18).num_classes == 18


def own(**changes):
    """A data set of one's own."""
    part = ArrayImages(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.arange(6) % 2)
    given = {"train": part, "valid": part, "test": part, "num_classes": 2, "mean": (0.5,), "std": (0.3,)}
    return ImageData("mine", **{**given, **changes}, recipe="shift")


def opened(monkeypatch, found):
    monkeypatch.setitem(sys.modules, "of_mine", SimpleNamespace(images=lambda root: found))
    return open_data("of_mine:images", Path("data"))


def test_files_name_a_data_set_of_one_s_own_as_the_setting_does(monkeypatch):
    assert opened(monkeypatch, own()).name == "of_mine:images"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 1}, "train has labels other than 0 to 0"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3}, "images of train have 1 channels"),
        ({"std": (0.0,)}, r"std is \(0.0,\)"),
        ({"valid": ArrayImages(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.arange(0))}, "valid has no images"),
    ],
)
def test_parts_of_one_s_own_that_do_not_fit_together_are_refused(monkeypatch, changes, said):
    with pytest.raises(InputError, match=f"of_mine:images: .*{said}"):
        opened(monkeypatch, own(**changes))


def test_what_is_no_data_set_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"data.name is 'of_mine:images', which returns a dict, expected an ImageData"):
        opened(monkeypatch, {})
    with pytest.raises(InputError, match=r"float32 \[6, 1, 8, 8\] and torch.int64 \[6\], expected torch.uint8"):
        ArrayImages(torch.zeros(6, 1, 8, 8), torch.arange(6))
