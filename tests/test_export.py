"""The command that takes one subnet out of a supernet."""

import json

import pytest
import torch
from PIL import Image

from fewshot_nas import predict
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.config import load_config
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import measure, score_plainly
from fewshot_nas.export import main
from fewshot_nas.models.card import KEY
from fewshot_nas.models.checkpoint import load_supernet, save_subnet, save_supernet
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json, sha256
from fewshot_nas.running.images import evaluation_inputs, images_of, open_images
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "supernet.pt"
    save_supernet(path, Supernet(by_width(PX8, 2), num_classes=10))
    return path


def test_weights_are_those_of_the_subnet(model, tmp_path, capsys):
    out = tmp_path / "subnet.pt"
    assert (
        main(
            [
                "--model",
                str(model),
                "--arch",
                PX8.encode(PX8.smallest),
                "--out",
                str(out),
                "--no-calibrate",
            ]
        )
        == 0
    )
    subnet = Subnet(PX8, PX8.smallest, num_classes=10)
    subnet.load_state_dict(torch.load(out, weights_only=True))
    expected = extract(load_supernet(model), PX8.smallest).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in subnet.state_dict().items())
    assert "not calibrated" in capsys.readouterr().out


def test_a_calibrated_subnet_scores_what_the_supernet_says(model, tmp_path, capsys):
    out = tmp_path / "subnet.pt"
    arguments = ["--model", str(model), "--arch", PX8.encode(PX8.smallest), "--out", str(out)]
    assert main([*arguments, "evaluation.calibration_images=64", "data.valid_images=50"]) == 0
    subnet = Subnet(PX8, PX8.smallest, num_classes=10)
    subnet.load_state_dict(torch.load(out, weights_only=True))
    config = load_config(None, ["evaluation.calibration_images=64", "data.valid_images=50"])
    data = open_images(config, PX8)
    inputs = evaluation_inputs(config, PX8, data, data.valid, World.alone())
    (score,) = score_plainly(load_supernet(model), [PX8.smallest], inputs)
    assert measure(subnet.eval(), inputs) == score
    said = f"calibrated on 64 training images; top-1 {score.top1:.2f} % on 50 validation images of digits"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("images", [64, 65, 70])
def test_statistics_are_means_over_all_calibration_images(model, tmp_path, images):
    """Whatever is left over after whole batches: those of the stem, which nothing comes before, tell."""
    out = tmp_path / "subnet.pt"
    settings = [f"evaluation.calibration_images={images}", "evaluation.calibration_batch=32", "data.valid_images=20"]
    assert main(["--model", str(model), "--arch", PX8.encode(PX8.smallest), "--out", str(out), *settings]) == 0
    written, config = torch.load(out, weights_only=True), load_config(None, settings)
    data = open_images(config, PX8)
    batches = evaluation_inputs(config, PX8, data, data.valid, World.alone()).calibration_batches()
    stem = extract(load_supernet(model), PX8.smallest).blocks[0].main[0].conv(torch.cat(list(batches)))
    assert torch.allclose(written["blocks.0.main.0.norm.running_mean"], stem.mean((0, 2, 3)), atol=1e-5)


def test_without_out_the_code_is_the_name(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--model", str(model), "--arch", PX8.encode(PX8.smallest), "--no-calibrate"])
    code = PX8.encode(PX8.smallest)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{code}.json", f"{code}.pt"]


@pytest.fixture
def exported(model, tmp_path):
    """Exports the smallest subnet of a run with settings; returns the card and the directory."""
    out = tmp_path / "subnet.safetensors"

    def run(*arguments, model=model):
        settings = ["evaluation.calibration_images=64", "data.valid_images=50"]
        assert (
            main(["--model", str(model), "--arch", PX8.encode(PX8.smallest), "--out", str(out), *settings, *arguments])
            == 0
        )
        return read_json(out.with_suffix(".json"))

    return run


def test_a_card_lies_beside_the_weights_and_in_them(exported, model, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    card = exported()
    arch, blocks = PX8.smallest, PX8.blocks(PX8.smallest)
    assert card["code"] == PX8.encode(arch)
    assert [each["stage"] for each in card["blocks"]] == [0, *[1] * 2, *[2] * 2, *[3] * 2, *[4] * 2]
    assert [each["main"] for each in card["blocks"]] == [[op._asdict() for op in block.main] for _, block in blocks]
    cost = PX8.cost(arch, num_classes=10)
    assert (card["macs"], card["parameters"]) == (cost.macs, cost.params)
    assert card["preprocessing"] == {
        "colour": "1 channel",
        "resize": {"shorter_side": 8, "interpolation": "bilinear", "antialias": True},
        "centre_crop": 8,
        "divide_by": 255,
        "mean": [0.3053],
        "std": [0.3759],
    }
    assert card["classes"] == [str(number) for number in range(10)]
    assert [(each["part"], each["images"]) for each in card["scores"]] == [("validation", 50), ("test", 300)]
    assert card["calibration"]["images"] == 64
    assert card["source"] == {"model": str(model), "sha256": sha256(model)}
    assert card["files"] == {"subnet.safetensors": sha256(tmp_path / "subnet.safetensors")}
    with safetensors.safe_open(tmp_path / "subnet.safetensors", "pt") as file:
        inside = json.loads(file.metadata()[KEY])
    assert inside == {key: value for key, value in card.items() if key != "files"}


def test_a_network_that_was_trained_alone_is_exported_as_it_is(tmp_path, capsys):
    network = Subnet(PX8, PX8.smallest, num_classes=10).eval()
    save_subnet(tmp_path / "subnet.pth", network, PX8, PX8.encode(PX8.smallest))
    arguments = ["--model", str(tmp_path / "subnet.pth"), "--out", str(tmp_path / "out.pt")]
    assert main(arguments) == 0
    assert "The card tells neither preprocessing nor scores" in capsys.readouterr().out
    assert read_json(tmp_path / "out.json")["preprocessing"] is None
    written = torch.load(tmp_path / "out.pt", weights_only=True)
    assert all(torch.equal(written[key], tensor) for key, tensor in network.state_dict().items())
    assert main([*arguments, "data.valid_images=20"]) == 0
    assert "top-1 " in capsys.readouterr().out
    assert read_json(tmp_path / "out.json")["calibration"] is None
    with pytest.raises(InputError, match=r"subnet\.pth: holds arch 1222277777.*, not 1"):
        main([*arguments, "--arch", PX8.encode(PX8.largest)])


def test_a_supernet_needs_a_code(model, tmp_path):
    with pytest.raises(InputError, match=r"holds a supernet, so --arch has to name"):
        main(["--model", str(model), "--out", str(tmp_path / "out.pt")])


@pytest.mark.parametrize("arguments", [["--with-preprocessing"], ["--with-preprocessing", "--onnx", "--no-calibrate"]])
def test_preprocessing_is_for_onnx_and_has_to_be_known(exported, arguments):
    with pytest.raises(
        InputError, match=r"--with-preprocessing is for --onnx and \.pt2, and needs the images' settings"
    ):
        exported(*arguments)


@pytest.mark.last
@pytest.mark.numeric
def test_exported_files_say_elsewhere_what_the_card_says(exported, tmp_path, capsys):
    """The test images as files, named by `predict`: as many right as the card says, of 8 bit integers too."""
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    card = exported("--onnx", "--with-preprocessing", "--int8")
    assert set(card["files"]) == {"subnet.safetensors", "subnet.onnx", "subnet.int8.onnx"}
    images = images_of(load_config().data).test
    for number, (pixels, label) in enumerate(zip(images.array, images.labels.tolist(), strict=True)):
        (tmp_path / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).save(tmp_path / "images" / str(label) / f"{number}.png")
    for name, own in (("subnet", card), ("subnet.int8", card["int8"])):
        capsys.readouterr()
        arguments = [f"--model={tmp_path / name}.onnx", str(tmp_path / "images"), "--labels", f"--csv={tmp_path}/a.csv"]
        assert predict.main(arguments) == 0
        test, said = own["scores"][1], capsys.readouterr().out.splitlines()[-1]
        low, high = test["top1_interval"]
        assert f"top-1 {test['top1']:.2f} % [{low:.2f}, {high:.2f}] on 300 images; the card: " in said
        assert said.endswith(f"{test['top1']:.2f} % on 300 test images")
        assert low < test["top1"] < high
        unsure = (tmp_path / "a.csv").read_text().count(",unsure\n")
        assert 100 * unsure / 300 == pytest.approx(test["rejected"], abs=0.34)  # an image
        assert own["scores"][0]["rejected"] == pytest.approx(5, abs=2.1)  # of 50 validation images
        assert own["latency"]["us"] > 0
    points, low, high = card["int8"]["change"]["test"]
    assert points == pytest.approx(card["int8"]["scores"][1]["top1"] - card["scores"][1]["top1"], abs=0.01)
    assert low < points < high


def test_nobody_guesses_what_a_model_was_trained_on(model, tmp_path):
    arguments = [
        "--model",
        str(model),
        "--arch",
        PX8.encode(PX8.smallest),
        "--out",
        str(tmp_path / "subnet.pt"),
    ]
    with pytest.raises(InputError, match=r"config\.yml: no such file, so nobody knows .* give --config, or --no-cal"):
        main(arguments)
    with pytest.raises(InputError, match="'foo=1' is not an override"):
        main([*arguments, "--no-calibrate", "foo=1"])
    assert not any(tmp_path.iterdir())


def test_images_of_other_classes_are_refused(tmp_path):
    save_supernet(tmp_path / "seven.pth", Supernet(by_width(PX8, 1), num_classes=7))
    arguments = [
        "--model",
        str(tmp_path / "seven.pth"),
        "--arch",
        PX8.encode(PX8.smallest),
        "run.seed=0",
    ]
    with pytest.raises(InputError, match="the model has 7 classes, but digits has 10"):
        main(arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--resolution": "0"}, "--resolution is 0, expected"),
        ({"--model": "none.pt"}, "none.pt: no such file"),
        ({"--out": "subnet.bin"}, "expected .pt, .pt2 or .safetensors"),
    ],
)
def test_a_wrong_argument_is_refused(model, change, message):
    arguments = {"--model": str(model), "--arch": PX8.encode(PX8.smallest)} | change
    with pytest.raises(InputError, match=message):
        main([word for pair in arguments.items() for word in pair])


def test_a_missing_model_ends_the_command_with_one_line(capsys):
    assert run(main, ["--model", "none.pt", "--arch", "123"]) == 2
    assert capsys.readouterr().err == "error: none.pt: no such file\n"
