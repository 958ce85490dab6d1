"""The way of docs/own_images.md, from a folder of images to scores in another program, as the page shows it.

Commands run with the page's own lines and settings; what the default suite runs has fewer images, archs and epochs.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from fewshot_nas.__main__ import main
from fewshot_nas.data.images import FileImages, Names
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.models.card import KEY, python_lines
from fewshot_nas.records.files import read_json
from fewshot_nas.scoring.predict import Model
from tests.script_module import load_script

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "own_images.md"
QUICK = {
    "train_stand_alone": ["stand_alone.epochs=1", "evaluation.calibration_images=16"],
    "train_supernet": ["training.epochs=1", "training.random_subnets=1"],
    "train_few_shot": ["few_shot.epochs=1"],
    "search": ["--budget=4", "--population=4"],
}
SHORTER = {"--size 2000": "--size 40", "--target_arch_num=all": "--target_arch_num=1-4", "--sample 300": "--sample 24"}
SHORTER |= {"epoch=0_sample300": "epoch=0_sample24"}


@pytest.fixture
def shapes():
    """Makes images as `python scripts/make_shapes.py` does."""
    module = load_script("make_shapes")
    return module.main


@pytest.fixture
def walk(tmp_path, monkeypatch, page, capsys):
    """Walks the page's commands, each changed by a function, in a directory of its own; the seconds of each."""
    monkeypatch.chdir(tmp_path)
    text = page(PAGE.read_text(encoding="utf-8"))
    (settings,) = text.blocks("yaml")
    (tmp_path / "mine.yml").write_text(settings)

    def run(change):
        best, seconds = "", {}
        for line in text.steps():
            if line.startswith("best="):
                best = line.removeprefix("best=")
                continue
            _, _, module, *arguments = shlex.split(change(re.sub(r"\$\{?best\}?", best, line)))
            command, before = module.removeprefix("fewshot_nas."), time.perf_counter()
            assert main([command, *arguments]) == 0, line
            seconds[command] = seconds.get(command, 0) + time.perf_counter() - before
        return best, seconds

    return run


def quick(line):
    for right, wrong in SHORTER.items():
        line = line.replace(right, wrong)
    command = line.split()[2].removeprefix("fewshot_nas.")
    return shlex.join([*shlex.split(line), *QUICK.get(command, [])])


def check_scores_elsewhere(tmp_path, page, said):
    """Among what the commands have said, and in a directory with the images and exported files, but nothing of ours."""
    (program,) = page(PAGE.read_text(encoding="utf-8")).blocks("python")
    card, place = read_json(tmp_path / "best.json"), tmp_path / "elsewhere"
    (test,) = [each for each in card["scores"] if each["part"] == "test"]
    assert f"top-1 {test['top1']:.2f} % [{test['top1_interval'][0]:.2f}, " in said.splitlines()[-1]
    place.mkdir()
    for name in ("best.json", "best.pt2", "data"):
        (place / name).symlink_to(tmp_path / name)
    command = [sys.executable, "-W", "ignore", "-I", "-c", program]
    outcome = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert outcome.stdout == f"{test['top1']:.2f} %\n", outcome.stderr
    return card


def forms(place, pixels):
    """Files of all forms that a folder may hold, by name."""
    colour, grey = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    alpha = Image.fromarray(pixels[..., 1])
    transparent, turned = colour.convert("RGBA"), Image.Exif()
    transparent.putalpha(alpha)
    palette = colour.quantize(16)
    for orientation in range(1, 9):
        turned[ExifTags.Base.Orientation] = orientation
        colour.save(place / f"turned{orientation}.jpg", exif=turned, quality=95)
    for ending in ("png", "tif", "webp"):
        colour.save(place / f"turned.{ending}", exif=turned)
        transparent.save(place / f"transparent.{ending}", exif=turned)
    Image.merge("LA", [grey, alpha]).save(place / "grey and alpha.png")
    colour.save(place / "one colour.png", transparency=tuple(pixels[0, 0].tolist()))
    grey.save(place / "one grey.png", transparency=int(pixels[0, 0, 0]))
    palette.save(place / "palette.png", transparency=3)
    palette.save(place / "palette.gif", transparency=3)
    for ending in ("png", "tif"):
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(place / f"deep.{ending}")
    colour.convert("CMYK").save(place / "ink.jpg")
    colour.convert("CMYK").save(place / "ink.tif")
    grey.convert("1").save(place / "bits.png")
    for ending in ("bmp", "jfif", "gif", "ppm"):
        colour.save(place / f"plain.{ending}", format="JPEG" if ending == "jfif" else None)
    return sorted(place.iterdir())


@dataclass
class Session:
    """Stands for one of onnxruntime; keeps what it is given."""

    card: dict
    given: list = field(default_factory=list)

    def get_modelmeta(self):
        return SimpleNamespace(custom_metadata_map={KEY: json.dumps(self.card)})

    def get_inputs(self):
        return [SimpleNamespace(name="pixels", type="tensor(uint8)")]

    def run(self, _, inputs):
        self.given.append(inputs["pixels"])
        return [np.array([[1.0]])]


@pytest.mark.parametrize("ground", [(255, 255, 255), (10, 200, 30)])
def test_every_form_of_file_gives_the_same_pixels_everywhere(tmp_path, page, monkeypatch, ground):
    """In training and evaluation, `predict`, the lines of the card, and the program of the page."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    files = forms(tmp_path, pixels)
    images = FileImages(tmp_path, Names.of(path.name for path in files), torch.zeros(len(files)).long()).on(ground)
    transform = eval_transform("photo", 16)
    how = {**images.described(), "colour": "RGB", **transform.described(), "mean": [0.0] * 3, "std": [1.0] * 3}
    card = {"preprocessing": how, "classes": ["all"], "onnx": {"input": "pixels"}, "output": {"logits": 1}}
    card |= {"confidence": {"temperature": 1.0}}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.json").write_text(json.dumps(card))
    session, program = Session(card), {}
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=lambda *_, **__: session))
    exec(page(PAGE.read_text(encoding="utf-8")).blocks("python")[0].partition("network = ")[0], program)
    model = Model(session, card, ("all",))
    for index, path in enumerate(files):
        expected = transform([images.picture(index)])
        monkeypatch.setattr(sys, "argv", ["lines", path.name])
        exec("\n".join(python_lines(card, "best.onnx")), {})
        assert np.array_equal(session.given[-1], expected), path.name
        assert np.array_equal(model.pixels(path)[None], expected), path.name
        assert np.array_equal(np.array(program["cut"](program["opened"](path))).transpose(2, 0, 1)[None], expected)
        assert images.picture(index).size == program["opened"](path).size[::-1], path.name


@pytest.mark.slow
@pytest.mark.last
def test_the_way_of_the_page_in_small(tmp_path, walk, shapes, page, capsys):
    """Photographs of 72 pixels, which are brought to 45 and cropped to 40."""
    pytest.importorskip("onnxscript")
    shapes([str(tmp_path / "data" / "mine"), "--train", "4", "--held_out", "4"])
    best, _ = walk(quick)
    said = capsys.readouterr().out
    assert "24 archs" in said
    assert "against results/mine/gt_arch30.json, with 95 % intervals:" in said
    assert f"{best}: top-1 " in said
    card = check_scores_elsewhere(tmp_path, page, said)
    assert card["preprocessing"]["resize"]["shorter_side"] == 45
    assert card["classes"] == ["circle", "cross", "hexagon", "ring", "square", "triangle"]
    assert "report" in said
    truth = read_json(tmp_path / "results" / "mine" / "gt_arch30.json")
    assert list(truth) == ["arch1", "arch2", "arch3", "arch4"]


@pytest.mark.slow
@pytest.mark.last
def test_the_way_of_the_page(tmp_path, walk, shapes, page, capsys):
    """As it is printed; the times go to docs/own_images.md."""
    pytest.importorskip("onnxscript")
    shapes([str(tmp_path / "data" / "mine")])
    best, seconds = walk(lambda line: line)
    card = check_scores_elsewhere(tmp_path, page, capsys.readouterr().out)
    known = json.dumps({"seconds": seconds, "scores": card["scores"], "macs": card["macs"]}, indent=4)
    Path(os.environ.get("OWN_IMAGES_TIMES", tmp_path / "times.json")).write_text(known)
    assert card["scores"][1]["top1"] > 40  # chance is 17
    assert card["code"] == best
