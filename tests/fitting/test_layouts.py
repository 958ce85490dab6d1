"""Layouts that people bring, each with the parts and labels that it means."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.files import read_list
from fewshot_nas.data.images import ArrayImages, repeated_indices
from fewshot_nas.data.layouts import recognised
from fewshot_nas.fitting.look import as_lists, seen


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 8), (value % 256, value // 256, 3)).save(path)


def folders(root, parts, count=10):
    for part in parts:
        for number, name in enumerate(("cat", "dog")):
            for each in range(count):
                image(root / part / name / f"{each}.png", 1000 * len(part) + 100 * number + each)


def labelled(layout):
    """The class of each file, by part."""
    return {
        part: {name: layout.classes[label] for name, label in zip(*each, strict=True)}
        for part, each in layout.parts.items()
    }


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_class_folders_by_any_name(tmp_path, name):
    folders(tmp_path, ["train", name, "test"])
    found = labelled(recognised(tmp_path))
    assert {part: len(each) for part, each in found.items()} == {"train": 20, "valid": 20, "test": 20}
    assert found["valid"][f"{name}/dog/3.png"] == "dog"


def test_capitals_do_not_make_classes_of_parts(tmp_path):
    folders(tmp_path, ["Training", "TEST"])
    found = labelled(recognised(tmp_path))
    assert {part: len(each) for part, each in found.items()} == {"train": 20, "test": 20}
    (tmp_path / "Training").rename(tmp_path / "Val")
    with pytest.raises(InputError, match="has TEST, Val, but no train; expected <class>/, or train/<class>/ and more"):
        recognised(tmp_path)


def test_what_macos_puts_into_archives_is_no_class(tmp_path):
    folders(tmp_path, ["."])
    image(tmp_path / "__MACOSX" / "dog" / "._1.png")
    assert recognised(tmp_path).classes == ["cat", "dog"]


@pytest.mark.parametrize("count", [2, 9])
def test_too_few_images_to_split_are_refused(tmp_path, count):
    """Copies are few, too."""
    folders(tmp_path, ["."])
    for path in (tmp_path / "dog").iterdir():
        path.unlink()
    for number in range(count):
        image(tmp_path / "dog" / f"{number}.png", number if count == 2 else 7)
    with pytest.raises(
        InputError, match=r"class dog has too few images, or only copies of few: .* at least 3 different"
    ):
        as_lists(tmp_path, tmp_path / "out")


def test_tables(tmp_path):
    for number in range(4):
        image(tmp_path / "pictures" / f"{number}.png", number)
    rows = "id;class;split\n0;b;train\n1;a;train\n2;a;dev\n3;;test\n"
    (tmp_path / "labels.csv").write_text(rows)
    assert labelled(recognised(tmp_path)) == {
        "train": {"pictures/0.png": "b", "pictures/1.png": "a"},
        "valid": {"pictures/2.png": "a"},
    }
    (tmp_path / "labels.csv").write_text("id,class\n7,b\n")
    with pytest.raises(InputError, match=r"line 2 names '7', but no such file"):
        recognised(tmp_path)
    (tmp_path / "labels.csv").write_text("a,b\n7,b\n")
    with pytest.raises(InputError, match=r"the header is a, b; expected a column of files"):
        recognised(tmp_path)


def test_metadata_of_each_part(tmp_path):
    for part in ("train", "validation", "test"):
        image(tmp_path / part / "1.png")
        (tmp_path / part / "metadata.csv").write_text("file_name,label\n1.png,10\n")
    image(tmp_path / "train" / "2.png", 1)
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\n1.png,10\n2.png,9\n")
    layout = recognised(tmp_path)
    assert layout.classes == ["9", "10"]
    for part in ("train", "validation", "test"):
        table = tmp_path / part / "metadata.csv"
        table.with_suffix(".tsv").write_text(table.read_text().replace(",", "\t"))
        table.unlink()
    assert labelled(recognised(tmp_path)) == labelled(layout)
    assert labelled(layout)["test"] == {"test/1.png": "10"}


def test_tiny_imagenet(tmp_path):
    for name in ("n2", "n1"):
        image(tmp_path / "train" / name / "images" / f"{name}_0.JPEG")
    image(tmp_path / "val" / "images" / "val_0.JPEG")
    (tmp_path / "wnids.txt").write_text("n2\nn1\n")
    (tmp_path / "words.txt").write_text("n1\tgoldfish, carp\nn2\tstork\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn1\t0\t0\t9\t9\n")
    found = labelled(recognised(tmp_path))
    assert found["test"] == {"val/images/val_0.JPEG": "goldfish"}
    assert found["train"]["train/n2/images/n2_0.JPEG"] == "stork"


def test_imagenet_with_its_devkit(tmp_path):
    """The devkit's numbers are not the order of the directories."""
    folders(tmp_path, ["train"], 2)
    for number in (1, 2):
        image(tmp_path / "val" / f"val_{number}.JPEG")
    with pytest.raises(InputError, match="without directories of classes; expected ILSVRC2012_validation"):
        recognised(tmp_path)
    data = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n")
    kinds = np.dtype([("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")])
    savemat(data / "meta.mat", {"synsets": np.array([(1, "dog", 0), (2, "cat", 0), (3, "pet", 2)], kinds)})
    assert labelled(recognised(tmp_path))["test"] == {"val/val_1.JPEG": "dog", "val/val_2.JPEG": "cat"}


def test_hugging_face_s_metadata_as_objects(tmp_path):
    image(tmp_path / "train" / "1.png")
    image(tmp_path / "train" / "2.png", 1)
    rows = [
        {"file_name": "1.png", "label": 10},
        {"file_name": "2.png", "label": 9, "more": [1]},
        {"file_name": "3.png"},
    ]
    (tmp_path / "train" / "metadata.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    layout = recognised(tmp_path)
    assert labelled(layout) == {"train": {"train/1.png": "10", "train/2.png": "9"}}
    assert layout.notes == [f"{tmp_path / 'train' / 'metadata.jsonl'}: 1 rows have no label and are left out"]
    (tmp_path / "train" / "metadata.jsonl").write_text('{"file_name": "1.png", "label": 10}\n\n{"file_name"\n')
    with pytest.raises(InputError, match="line 3 is no JSON object"):
        recognised(tmp_path)


def test_tables_by_part_may_have_tabs(tmp_path):
    for part in ("train", "test"):
        image(tmp_path / f"{part}.png")
        (tmp_path / f"{part}.tsv").write_text(f"image_name\tlabel\n\n{part}.png\ta, b\n")
    assert labelled(recognised(tmp_path)) == {part: {f"{part}.png": "a, b"} for part in ("train", "test")}


def test_test_images_without_labels_are_left_out(tmp_path):
    """As in Tiny ImageNet, where somebody has sorted `val` into directories."""
    folders(tmp_path, ["train", "val"])
    image(tmp_path / "test" / "images" / "1.png")
    layout = recognised(tmp_path)
    assert set(layout.parts) == {"train", "valid"}
    assert f"{tmp_path / 'test'}: has no directories of classes, so its images have no labels and" in layout.notes[-1]


def test_what_is_no_directory_of_classes_says_what_may_be(tmp_path):
    folders(tmp_path / "flowers" / "inner", ["."])
    with pytest.raises(InputError, match=r"flowers: has one class, inner, .* they are cat, dog in .*inner: give"):
        as_lists(tmp_path / "flowers", tmp_path / "out")
    (tmp_path / "flowers.zip").write_text("")
    with pytest.raises(InputError, match=r"flowers\.zip: is a file; if it is an archive, unpack it"):
        recognised(tmp_path / "flowers.zip")


def test_names_that_are_no_text_are_found_again(tmp_path):
    """Bytes that are no UTF-8, and separators of lines other than the usual one."""
    folders(tmp_path / "in", ["."])
    for name in (b"\xff.png", "\u2028.png".encode()):
        (tmp_path / "in" / "cat" / "1.png").rename(tmp_path / "in" / "cat" / os.fsdecode(name))
        image(tmp_path / "in" / "cat" / "1.png", 77 + len(name))
    as_lists(tmp_path / "in", tmp_path / "out")
    for part in ("train", "val", "test"):
        assert all(Path(name).exists() for name in read_list(tmp_path / "out" / f"{part}.txt").names)


def read(out, name):
    return dict(line.rsplit(" ", 1) for line in (out / name).read_text().splitlines())


def test_a_split_is_stratified_disjoint_and_the_same_again(tmp_path):
    folders(tmp_path / "in", ["."], 20)
    image(tmp_path / "in" / "cat" / "copy.png", 1000)  # of cat/0.png: both are trained on
    settings, said = as_lists(tmp_path / "in", tmp_path / "out")
    assert "2 images have copies, such as cat/0.png; none of these is held out" in said
    assert settings == {"name": "parts", "root": str(tmp_path / "out")}
    train, valid, test = (read(tmp_path / "out", name) for name in ("train.txt", "val.txt", "test.txt"))
    assert len(train) + len(valid) + len(test) == len(train | valid | test) == 41
    assert [sorted(part.values()).count("0") for part in (valid, test)] == [3, 4]
    assert {"copy.png", "0.png"} <= {name.rpartition("/")[2] for name, label in train.items() if label == "0"}
    as_lists(tmp_path / "in", tmp_path / "again")
    assert read(tmp_path / "again", "val.txt") == valid


def test_the_only_held_out_images_are_tested_on(tmp_path):
    folders(tmp_path / "in", ["train", "val"])
    for path in (tmp_path / "in" / "val" / "dog").iterdir():
        path.unlink()
    _, said = as_lists(tmp_path / "in", tmp_path / "out")
    assert "no test image is of class dog" in said
    assert {name.split("/")[-3] for name in read(tmp_path / "out", "test.txt")} == {"val"}
    assert {name.split("/")[-3] for name in read(tmp_path / "out", "val.txt")} == {"train"}


def test_an_empty_class_is_refused(tmp_path):
    folders(tmp_path, ["."])
    (tmp_path / "bird").mkdir()
    with pytest.raises(InputError, match="class bird has no images to train on"):
        as_lists(tmp_path, tmp_path / "out")


def test_images_of_rare_classes_that_are_repeated_do_not_hide_that_they_are_rare():
    """So that balanced accuracy decides."""
    labels = torch.tensor([0] * 40 + [1] * 10)
    brought = ArrayImages(torch.zeros(50, 3, 8, 8, dtype=torch.uint8), labels)
    even = brought.select(repeated_indices(labels, 1.0))
    data = SimpleNamespace(
        train=even, valid=brought, test=brought, num_classes=2, mean=(0.0,) * 3, class_names=["a", "b"], doubts=[]
    )
    assert (seen(data)[0].uneven, seen(data, brought)[0].uneven) == (1.0, 4.0)
    found, said = seen(data, brought)
    assert found.train == 80
    assert said[1].endswith("so balanced accuracy stands beside top-1; rare classes are shown more often")
