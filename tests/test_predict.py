"""Images named by an exported file: right labels and probabilities, without torch, and what is refused."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.models.card import FORMAT, Provenance, deployment_card, python_lines
from fewshot_nas.models.export import write_onnx
from fewshot_nas.predict import main
from fewshot_nas.space.presets import SPACES

COLOURS = {"blue": (0, 0, 200), "green": (0, 255, 0), "red": (255, 0, 0)}
HOW = {
    "colour": "RGB",
    "resize": {"shorter_side": 10, "interpolation": "bilinear"},
    "centre_crop": 8,
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
}
WITHOUT_TORCH = """import sys
sys.modules |= dict.fromkeys(["torch", "torchvision", "tqdm", "sklearn", "plotly", "timm"])
from fewshot_nas.__main__ import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""


def colour_card(**changes):
    """The card of a network whose logits are the means of the channels, 0..1, blue first."""
    space = SPACES["px28"]
    confidence = {"temperature": 0.5, "threshold": 0.8}
    scores = [{"top1": 50.0, "images": 4, "part": "test"}]
    card = deployment_card(space, space.smallest, 3, Provenance(HOW, list(COLOURS), scores, confidence))
    card["input"]["shape"] = ["batch", 3, 8, 8]
    return {**card, "onnx": {"input": "images"}, **changes}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with the network of `colour_card` and an image of each class."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    turned = onnx.numpy_helper.from_array(np.array([2, 1, 0]), "turned")
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["rgb"]),
        helper.make_node("Gather", ["rgb", "turned"], ["out"], axis=1),
    ]
    given, out = ((name, number, shape) for name, shape in (("images", ["n", 3, 8, 8]), ("out", ["n", 3])))
    values = (helper.make_tensor_value_info(*each) for each in (given, out))
    graph = helper.make_graph(nodes, "colours", *([each] for each in values), [turned])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    write_onnx(tmp_path / "colours.onnx", model, json.dumps(colour_card()))
    for name, card in {
        "bare": {"format": "another"},
        "unknown": colour_card(preprocessing=None),
        "four": colour_card(input={"shape": ["batch", 4, 8, 8]}),
    }.items():
        write_onnx(tmp_path / f"{name}.onnx", model, json.dumps(card))
    for name, colour in COLOURS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (12, 10), colour).save(tmp_path / "images" / name / "1.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_labels_probabilities_and_doubts(place, capsys):
    """The softmax of 2 * (1, 0, 0) has 0.7870 at first, that of 2 * (200 / 255, 0, 0) has 0.7059."""
    (place / "images" / "blue" / "1.png").replace(place / "images" / "green" / "2.png")
    assert run(main, ["--model=colours.onnx", "images", "--labels", "--top=2", "--csv=out/named.csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "images/green/1.png\tgreen\t0.7870\tblue\t0.1065\tunsure"
    assert lines[-1] == "top-1 66.67 % [20.77, 93.85] on 3 images; the card: 50.00 % on 4 test images"
    rows = list(csv.DictReader((place / "out" / "named.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", "label", "probability", "label2", "probability2", "unsure"]
    assert [(row["label"], row["probability"]) for row in rows] == [
        ("green", "0.7870"),
        ("blue", "0.7059"),
        ("red", "0.7870"),
    ]


def test_torch_need_not_be_there(place):
    command = [sys.executable, "-c", WITHOUT_TORCH, "--model=colours.onnx", "images"]
    assert "images/red/1.png\tred\t0.7870" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_lines_of_the_card_name_the_same(place, capsys, monkeypatch):
    for name in COLOURS:
        monkeypatch.setattr(sys, "argv", ["lines", f"images/{name}/1.png"])
        exec("\n".join(python_lines(colour_card(), "colours.onnx")), {})
    assert capsys.readouterr().out == "blue 0.7059\ngreen 0.787\nred 0.787\n"


def test_broken_images_are_left_out(place, capsys):
    assert run(main, ["--model=colours.onnx", "broken.png", "images/red", "--csv=named.csv", "--labels"]) == 2
    assert "broken.png: --labels takes" in capsys.readouterr().err
    assert run(main, ["--model=colours.onnx", "broken.png", "images/red", "--csv=named.csv"]) == 1
    said = capsys.readouterr()
    assert said.out == "images/red/1.png\tred\t0.7870\tunsure\n"
    assert "left out: broken.png: cannot be decoded as an image" in said.err
    assert "1 of 2 images could not be read" in said.err
    assert len((place / "named.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model=none.onnx", "images"], "none.onnx: no such file; expected an ONNX file"),
        (["--model=images", "images"], "images: no such file; expected an ONNX file"),
        (["--model=broken.png", "images"], "broken.png: no ONNX file that can be run"),
        (["--model=bare.onnx", "images"], "bare.onnx: holds no deployment card"),
        (["--model=unknown.onnx", "images"], "unknown.onnx: its card lacks preprocessing or confidence"),
        (["--model=four.onnx", "images"], "four.onnx: takes 4 channels"),
        (["--model=colours.onnx", "none"], "none: no such file or directory"),
        (["--model=colours.onnx", "empty"], "empty: no images that can be read"),
        (["--model=colours.onnx", "images", "--top=0"], "--top is 0"),
        (["--model=colours.onnx", "images", "--csv=colours.onnx"], "expected a name that ends in .csv"),
    ],
)
def test_what_is_refused(place, words, said):
    with pytest.raises(InputError, match=said):
        main(words)
    assert FORMAT in (place / "colours.onnx").read_bytes().decode(errors="ignore")
