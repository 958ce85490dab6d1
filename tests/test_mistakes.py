"""What people do wrong with their own images, and the sentence that each mistake gets.

A mistake is refused (status 2, one line, nothing written) or, where it may be meant, warned about once.
"""

import re
import shutil

import pytest
from PIL import Image

from fewshot_nas.__main__ import main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.pool import Entry, make_pool, part_path, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]
OWN = ["space.in_channels=3", "data.name=folders", "data.root=images"]
ONE_PIXEL = ["space.strides=[2,2,2,1]"]  # the maps of the last stages are a single pixel
ARCH = "1" + "2222" + "7" + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 6 + "77" * 2 + "00" * 3


@pytest.fixture
def place(workshop, monkeypatch):
    """A directory with images of two classes, a supernet of the digits (run `digits`), and some files of no use."""
    for part, count in (("train", 10), ("val", 4)):
        for green, name in enumerate(("cat", "dog")):
            directory = workshop / "images" / part / name
            directory.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (number, green, count)).save(directory / f"{number}.png")
    save_supernet(workshop / "results" / "digits" / "supernet.pth", Supernet(by_width(PX8, 1), 10), {"epoch": 0})
    (workshop / "results" / "a file").write_text("text")
    (workshop / "model.json").write_text("{}")
    (workshop / "bad.yml").write_text("training: {epoch: 3}")
    return workshop


def lost(*paths):
    """Removes files of the place."""

    def change(place):
        for pattern in paths:
            for path in place.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def new_class(part, name, image=True):
    def change(place):
        (place / "images" / part / name).mkdir()
        if image:
            Image.new("RGB", (8, 8)).save(place / "images" / part / name / "1.png")

    return change


def torn(part):
    def change(place):
        (place / "images" / part / "cat" / "3.png").write_bytes(b"\x89PNG and no more")

    return change


def diverged(place):
    supernet = Supernet(by_width(PX8, 1), 10)
    supernet.stored((0, 0)).main[0].conv.weight.data[0, 0, 0, 0] = float("nan")
    save_supernet(place / "results" / "digits" / "supernet.pth", supernet, {"epoch": 0})


def listed(place):
    for name in ("train", "valid", "valid_part2500"):
        (place / "images" / f"{name}.txt").write_text("train/cat/1.png 0\ntrain/dog/1.png 17\n")


def ranked_on_training_images(place):
    shutil.rmtree(place / "images" / "val")
    (place / "images" / "val").symlink_to("train")


def copied(source, target):
    return lambda place: shutil.copy(place / "images" / source, place / "images" / target)


def ink(place):
    Image.new("RGBA", (8, 8)).save(place / "images" / "train" / "cat" / "ink.png")


def nothing(place):
    pass


REFUSED = [
    # The images.
    (
        nothing,
        ["train_supernet", *OWN[:2], "data.root=imagse"],
        "/imagse/train: no such directory; expected train/<class>/",
    ),
    (
        nothing,
        ["train_supernet", *OWN[1:]],
        "the images of folders have 3 channels, but space px8 expects 1; set space.in",
    ),
    (
        lost("images/train/dog/*"),
        ["train_supernet", *OWN],
        "images/train/dog: no images that can be read (the directory has no files)",
    ),
    (new_class("val", "bird"), ["train_supernet", *OWN], "images/val/bird: no such class in images/train"),
    (
        torn("train"),
        ["train_supernet", *OWN],
        "images/train/cat/3.png: cannot be decoded as an image",
    ),
    (
        torn("val"),
        ["train_stand_alone", "--target_arch_num=1", *OWN],
        "images/val/cat/3.png: cannot be decoded as an image",
    ),
    (
        nothing,
        ["train_stand_alone", "--target_arch_num=1", *OWN, *ONE_PIXEL, "stand_alone.batch_size=1"],
        "stand_alone.batch_size gives a process batches of a single image",
    ),
    (
        listed,
        ["train_supernet", *OWN, "data.name=lists"],
        "lists: no training image has label 1, but labels go up to 17;",
    ),
    *(
        (
            ranked_on_training_images,
            [*command, *(OWN[1:] if command == ["cream.search"] else OWN)],
            "all 20 ranking images are training images too (such as val/cat/0.png, which is train/cat/0.png and",
        )
        for command in (["train_supernet"], ["train_stand_alone", "--target_arch_num=1"], ["cream.search"])
    ),
    (nothing, ["train_supernet", *OWN, "data.name=folder"], "data.name is 'folder', expected one of digits, "),
    (
        lost("images/*/dog"),
        ["train_supernet", *OWN],
        "folders: all 10 training images are of class 0, so there is nothing to tell apart",
    ),
    (
        diverged,
        ["test", "--save=digits", f"--arch={ARCH}"],
        "results/digits/supernet.pth: tensor model.blocks.0_0.main.0.conv.weight has values that are not finite",
    ),
    # The settings.
    (nothing, ["train_supernet", "--config", "mine.yml"], "mine.yml: cannot be read"),
    (
        nothing,
        ["train_supernet", "--config", "bad.yml"],
        "bad.yml: training.epoch is not a setting, expected one of epochs,",
    ),
    (nothing, ["train_supernet", "training.epochs=ten"], "training.epochs is ten, expected a whole number >= 1"),
    (
        nothing,
        ["train_supernet", *OWN, "training.epochs=2", "training.warmup_epochs=9"],
        "training.warmup_epochs is 9, expec",
    ),
    *(
        (
            nothing,
            [command, *OWN, *ONE_PIXEL, more],
            f"{setting} gives a process batches of a single image, whose small",
        )
        for command, more, setting in (
            ("train_supernet", "training.batch_size=1", "training.batch_size"),
            ("train_supernet", "evaluation.calibration_batch=1", "evaluation.calibration_batch"),
            ("train_supernet", "evaluation.calibration_images=1", "evaluation.calibration_images"),
        )
    ),
    (
        nothing,
        ["train_supernet", "space.resolution=2"],
        "space.resolution is 2, expected at least 4, because the strides",
    ),
    (nothing, ["train_supernet", "space.depths=[[1,2]]"], "space px8: depths has 1 values, expected 4"),
    # Names and files.
    (
        nothing,
        ["train_supernet", "--save", "a file"],
        "--save is 'a file', but results/a file is a file, expected a direct",
    ),
    (
        nothing,
        ["train_supernet", "--save", "../mine"],
        "--save is '../mine', expected the name of a directory under results/",
    ),
    (  # `--save $UNSET training.epochs=1`
        nothing,
        ["train_supernet", "--save", "training.epochs=1"],
        "--save is 'training.epochs=1', which is a setting; the run's name is missing before it",
    ),
    (
        nothing,
        ["train_few_shot", "--save=new", "--group_nums=2"],
        "results/new: no finished phase with fewer than 2 groups",
    ),
    (
        nothing,
        ["test", "--save=digits", "--split_group=3"],
        "results/digits/3/supernet.pth: no such file; finished phases are 1",
    ),
    (
        nothing,
        ["merge", "--save=digits", "--epoch=3"],
        "results/digits/json_results/epoch3: no such evaluation; `python -m f",
    ),
    (
        nothing,
        ["export", "--model=model.json", f"--arch={ARCH}"],
        "model.json: cannot be read as a checkpoint of tensors",
    ),
    (nothing, ["export", "--model=results/digits/supernet.pth"], "holds a supernet, so --arch has to name the subnet"),
    (
        nothing,
        ["export", "--model=results/digits/supernet.pth", f"--arch={ARCH}"],
        "nobody knows which images the model was",
    ),
    (
        nothing,
        ["export", "--model=results/digits/supernet.pth", f"--arch={ARCH}", "--out=a.onnx"],
        "a.onnx: ends in '.onnx'",
    ),
    (nothing, ["predict", "--model=model.json", "model.json"], "model.json: no ONNX file that can be run"),
    (nothing, ["test", "--save=digits", "--arch=1234"], "code '1234' has 4 characters, expected 52"),
    (
        nothing,
        ["train_stand_alone", "--target_arch_num=31"],
        "--target_arch_num names arch31, but the pool has 30 archs",
    ),
    (
        nothing,
        ["train_stand_alone", "--target_arch_num=1", "run.pool=pools"],
        "/pools: no part1.json, expected a pool; `python",
    ),
    (nothing, ["tets", "--save=digits"], "'tets' is not a command, expected one of fit, make_pool, "),
]


@pytest.mark.parametrize(("change", "arguments", "said"), REFUSED, ids=lambda value: None)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(place, capsys, change, arguments, said):
    change(place)
    before = sorted((place / "results").rglob("supernet.pth"))
    assert run(main, arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert "weights_only" not in lines[0]
    assert sorted((place / "results").rglob("supernet.pth")) == before


SMALL = ["training.epochs=1", "space.base_widths=[4,6,10,20]", "--save=own"]


def other_pool(place):
    entries = {key: Entry(0.0, arch) for key, arch in make_pool(PX8, seed=0, size=5).items()}
    write_arch_file(part_path(place / "pools", 1), PX8, entries)


WARNED = [
    (nothing, [], "folders: training images are shifted as small images, because their shorter side is 8 pixels;"),
    (nothing, [], "images/test is not there, so the images of val are both ranked on and tested on;"),
    (nothing, [], "results/own/gt_arch30.json: no such file, so there is no tau; the last epoch will be chosen"),
    (nothing, [], "training.batch_size is 64, but there are 20 training images: each step takes all"),
    (nothing, [], "evaluation.calibration_images is 256, but there are 20 training images: all are taken"),
    (lost("images/val/cat/*"), [], "images/val: no images of class cat, so the ranking does not consider them"),
    (copied("train/cat/1.png", "val/cat/copy.png"), [], "1 of the 9 ranking images is a training image too (such as"),
    (
        copied("train/cat/1.png", "train/dog/copy.png"),
        [],
        "1 image has two labels (such as train/cat/1.png is cat, tra",
    ),
    (
        ink,
        [],
        "1 of 29 images have transparent pixels (such as images/train/cat/ink.png), which are shown on the colour",
    ),
    (nothing, [], "images/train: 20 files found, 20 read (20 .png)"),
    (nothing, ["run.pool=pools"], "training needs no pool, but its evaluation will: "),
    (
        other_pool,
        ["run.pool=pools", "space.pool_digits=[1,1,1,1]"],
        "pools: arch1 has options that are never trained",
    ),
]


@pytest.mark.parametrize(("change", "more", "said"), WARNED, ids=lambda value: None)
def test_what_may_be_meant_is_said_once(place, capsys, change, more, said):
    change(place)
    assert run(main, ["train_supernet", *OWN, *SMALL, *more]) == 0
    assert capsys.readouterr().out.count(said) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train_supernet", "--training.epochs=2"], "settings are given without dashes: training.epochs=2"),
        (["train_supernet", "--sve=own"], "did you mean --save?"),
        (["export"], "the following arguments are required: --model"),
    ],
)
def test_a_wrong_option_is_explained(arguments, said):
    with pytest.raises(InputError, match=re.escape(said)):
        main(arguments)
