"""The command that takes one subnet out of a supernet."""

import pytest
import torch

from fewshot_nas import runs
from fewshot_nas.cli import run
from fewshot_nas.config import load_config
from fewshot_nas.distributed import World
from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.naive import measure, score_plainly
from fewshot_nas.export import main
from fewshot_nas.models import export
from fewshot_nas.models.checkpoint import load_supernet, save_supernet
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.sampling import smallest
from fewshot_nas.space.search_space import SPACES
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
                PX8.encode(smallest(PX8)),
                "--out",
                str(out),
                "--no-calibrate",
            ]
        )
        == 0
    )
    subnet = Subnet(PX8, smallest(PX8), num_classes=10)
    subnet.load_state_dict(torch.load(out, weights_only=True))
    expected = extract(load_supernet(model), smallest(PX8)).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in subnet.state_dict().items())
    assert "not calibrated" in capsys.readouterr().out


def test_a_calibrated_subnet_scores_what_the_supernet_says(model, tmp_path, capsys):
    out = tmp_path / "subnet.pt"
    arguments = ["--model", str(model), "--arch", PX8.encode(smallest(PX8)), "--out", str(out)]
    assert main([*arguments, "evaluation.calibration_images=64", "data.valid_images=50"]) == 0
    subnet = Subnet(PX8, smallest(PX8), num_classes=10)
    subnet.load_state_dict(torch.load(out, weights_only=True))
    config = load_config(None, ["evaluation.calibration_images=64", "data.valid_images=50"])
    data = runs.open_images(config, PX8)
    inputs = runs.evaluation_inputs(config, PX8, data, data.valid, World.alone())
    (score,) = score_plainly(load_supernet(model), [smallest(PX8)], inputs)
    assert measure(subnet.eval(), inputs) == score
    said = f"calibrated on 64 training images; top-1 {score.top1:.2f} % on 50 validation images of digits"
    assert said in capsys.readouterr().out


def test_without_out_the_code_is_the_name(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--model", str(model), "--arch", PX8.encode(smallest(PX8)), "--no-calibrate"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{SPACES['px8'].encode(smallest(SPACES['px8']))}.pt"]


def test_onnx_lies_beside_the_weights(model, tmp_path, monkeypatch):
    """tests/models/test_export.py writes a real one."""
    written = []
    monkeypatch.setattr(export, "write_onnx", lambda path, subnet, resolution: written.append((path, resolution)))
    out = tmp_path / "subnet.pt"
    main(
        [
            "--model",
            str(model),
            "--arch",
            PX8.encode(smallest(PX8)),
            "--out",
            str(out),
            "--onnx",
            "--no-calibrate",
        ]
    )
    assert written == [(tmp_path / "subnet.onnx", 8)]
    assert out.exists()


def test_nobody_guesses_what_a_model_was_trained_on(model, tmp_path):
    arguments = [
        "--model",
        str(model),
        "--arch",
        PX8.encode(smallest(PX8)),
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
        PX8.encode(smallest(PX8)),
        "run.seed=0",
    ]
    with pytest.raises(InputError, match="the model has 7 classes, but digits has 10"):
        main(arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--resolution": "0"}, "--resolution is 0, expected"),
        ({"--model": "none.pt"}, "none.pt: no such file"),
        ({"--out": "subnet.bin"}, "expected .pt or .safetensors"),
    ],
)
def test_a_wrong_argument_is_refused(model, change, message):
    arguments = {"--model": str(model), "--arch": PX8.encode(smallest(PX8))} | change
    with pytest.raises(InputError, match=message):
        main([word for pair in arguments.items() for word in pair])


def test_a_missing_model_ends_the_command_with_one_line(capsys):
    assert run(main, ["--model", "none.pt", "--arch", "123"]) == 2
    assert capsys.readouterr().err == "error: none.pt: no such file\n"
