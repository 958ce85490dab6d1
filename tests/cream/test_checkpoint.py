"""Retrained networks in files: which weights are read, and what is refused."""

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.model import MODELS, CreamSpace, model_of
from fewshot_nas.cream.runs import child_of, save_child, to_timm
from fewshot_nas.models.checkpoint import read_checkpoint
from fewshot_nas.models.subnet import Subnet

CODE = "[[0],[0],[1],[2],[3],[4],[0]]"
MODEL = model_of(CODE, 32)


@pytest.fixture(scope="module")
def pair():
    """A network and its average."""
    torch.manual_seed(0)
    return tuple(Subnet(MODEL.on(1), MODEL.arch, 5) for _ in range(2))


def load_child(path, model, num_classes, in_channels):
    return child_of(path, read_checkpoint(path), model, num_classes, in_channels)


def named(network):
    """Its state dict, as files have it."""
    return to_timm(network.state_dict(), MODEL.on(1))


@pytest.fixture
def file(tmp_path, pair):
    save_child(tmp_path / "arch.pth.tar", MODEL, *pair)
    return tmp_path / "arch.pth.tar"


def test_the_average_is_read(file, pair):
    found = load_child(file, MODEL, 5, 1).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in pair[1].state_dict().items())


def test_plain_weights_of_several_gpus_are_read_where_there_is_no_average(tmp_path, pair):
    weights = {f"module.{name}": tensor for name, tensor in named(pair[0]).items()}
    torch.save({"state_dict": weights, "state_dict_ema": None, "epoch": 3}, tmp_path / "other.pth.tar")
    found = load_child(tmp_path / "other.pth.tar", MODEL, 5, 1).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in pair[0].state_dict().items())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            MODELS[43],
            r"holds a network with INPUT_ARCH \[\[0\],\[0\],\[1\],\[2\],\[3\],\[4\],\[0\]\], but the selected",
        ),
        (model_of(CODE, 64), "holds a network with resolution 32, but the selected model has 64"),
        (
            model_of(CODE, 32, CreamSpace(strides=(2, 2, 1, 2, 2))),
            r"holds a network with space .*\[2, 2, 2, 1, 2\].*, but the selected model has .*\[2, 2, 1, 2, 2\]",
        ),
    ],
)
def test_another_model_is_refused(file, model, message):
    with pytest.raises(InputError, match=f"arch.pth.tar: {message}"):
        load_child(file, model, 5, 1)


def test_a_file_that_does_not_name_its_space_is_read(file, pair):
    content = torch.load(file, weights_only=True)
    del content["space"]
    torch.save(content, file)
    assert load_child(file, MODEL, 5, 1).state_dict().keys() == pair[1].state_dict().keys()


def test_another_number_of_classes_is_refused(file):
    with pytest.raises(InputError, match=r"tensor classifier.weight has shape \[5, 1280\], but .* expects \[7, 1280\]"):
        load_child(file, MODEL, 7, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "has neither state_dict_ema nor state_dict"),
        ({"state_dict": {}}, r"tensor conv_stem.weight has shape None, but the selected model expects \[16, 1, 3, 3\]"),
        ({"state_dict": {"conv_stem.weight": 3}}, "tensor conv_stem.weight has shape None"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth.tar")
    with pytest.raises(InputError, match=f"x.pth.tar: {message}"):
        load_child(tmp_path / "x.pth.tar", MODEL, 5, 1)


def test_a_tensor_too_many_is_refused(tmp_path, pair):
    torch.save({"state_dict": {**named(pair[0]), "more": torch.zeros(1)}}, tmp_path / "x.pth.tar")
    with pytest.raises(InputError, match="tensor more does not belong to the selected model"):
        load_child(tmp_path / "x.pth.tar", MODEL, 5, 1)
