"""Files that other programs read hold the same function."""

import sys

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.export import onnx_program, write_onnx, write_weights
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.space.presets import SPACES
from tests.rounding import assert_equal_but_for_rounding, terms

SPACE = SPACES["px8"]
SMALLEST = SPACE.smallest


@pytest.fixture(scope="module")
def calibrated(shared) -> Subnet:
    subnet = extract(shared("px8", 2), SMALLEST)
    with torch.no_grad():
        for _ in range(5):
            subnet(torch.randn(16, 1, 8, 8))
    return subnet.eval()


def test_safetensors_hold_the_state_dict(calibrated, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    write_weights(tmp_path / "subnet.safetensors", calibrated.to(memory_format=torch.channels_last), resolution=8)
    found = safetensors.load_file(tmp_path / "subnet.safetensors")
    assert found.keys() == calibrated.state_dict().keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in calibrated.state_dict().items())


def test_a_state_dict_loads_without_this_program(calibrated, tmp_path):
    write_weights(tmp_path / "subnet.pt", calibrated, resolution=8)
    found = torch.load(tmp_path / "subnet.pt", weights_only=True)
    assert all(torch.equal(found[key], tensor) for key, tensor in calibrated.state_dict().items())


@pytest.mark.last
@pytest.mark.numeric
def test_a_program_needs_nothing_of_ours_for_any_batch(calibrated, tmp_path):
    write_weights(tmp_path / "subnet.pt2", calibrated, resolution=8, card='{"code": "1"}')
    extra = {"fewshot_nas.card": ""}
    program = torch.export.load(tmp_path / "subnet.pt2", extra_files=extra).module()
    assert extra == {"fewshot_nas.card": '{"code": "1"}'}
    for batch in (1, 5):
        images = torch.randn(batch, 1, 8, 8)
        expected = calibrated(images)
        assert_equal_but_for_rounding(program(images), expected, terms(SPACE, [SMALLEST], images))


def test_another_ending_is_refused(calibrated, tmp_path):
    with pytest.raises(InputError, match=r"ends in '\.bin', expected \.pt, \.pt2 or \.safetensors"):
        write_weights(tmp_path / "subnet.bin", calibrated, resolution=8)


@pytest.mark.last
@pytest.mark.numeric
def test_onnxruntime_agrees_for_any_batch(calibrated, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    write_onnx(tmp_path / "subnet.onnx", onnx_program(calibrated, resolution=8))
    session = onnxruntime.InferenceSession(tmp_path / "subnet.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        images = torch.randn(batch, 1, 8, 8)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        length = terms(SPACE, [SMALLEST], images)
        assert_equal_but_for_rounding(torch.from_numpy(logits), calibrated(images), length, "the logits")


@pytest.mark.parametrize(
    ("package", "write"),
    [
        ("safetensors", lambda path, subnet: write_weights(path / "subnet.safetensors", subnet, resolution=8)),
        ("onnx", lambda path, subnet: onnx_program(subnet, resolution=8)),
        ("onnxscript", lambda path, subnet: onnx_program(subnet, resolution=8)),
    ],
)
def test_a_missing_extra_is_named(calibrated, tmp_path, monkeypatch, package, write):
    for name in (package, f"{package}.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{package} is not installed.*fewshot-nas\[export\]"):
        write(tmp_path, calibrated)
    assert not list(tmp_path.iterdir())
