"""Supernets survive the way to the disk and back; other files are refused in one sentence."""

import os
import pickle
import random
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import FORMAT, load_supernet, read_checkpoint, save_supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from tests.kinds import GATED, SPLITS, named

PX8 = SPACES["px8"]
SMALLEST = PX8.smallest


@pytest.fixture(scope="module")
def saved(shared, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "supernet.pt"
    save_supernet(path, shared("px8", 2), {"epoch": 3, "optimizer": {"momentum": torch.ones(2)}})
    return path


def test_a_supernet_comes_back_as_it_was(saved, shared):
    supernet, images = load_supernet(saved), torch.randn(2, 1, 8, 8)
    assert (supernet.space, supernet.split.groups, supernet.num_classes) == (shared("px8", 2).space, 2, 10)
    assert torch.equal(supernet(images, SMALLEST), shared("px8", 2)(images, SMALLEST))


@pytest.mark.parametrize("split", [split for split in SPLITS if split.space != GATED], ids=named)
def test_a_supernet_of_any_split_comes_back(fresh, tmp_path, split):
    supernet, images = fresh(split), torch.randn(2, 1, 8, 8)
    save_supernet(tmp_path / "supernet.pt", supernet)
    again, arch = load_supernet(tmp_path / "supernet.pt"), random_arch(split.space, random.Random(0))
    assert (again.split, again.split.name) == (split, split.name)
    assert torch.equal(again(images, arch), supernet(images, arch))


def test_a_supernet_of_ones_own_space_comes_back(fresh, tmp_path):
    mine = replace(GATED, name="tests.kinds:GATED")
    supernet = fresh(mine, 2)
    save_supernet(tmp_path / "supernet.pt", supernet)
    again = load_supernet(tmp_path / "supernet.pt")
    assert again.split == supernet.split
    assert again.space == mine
    assert all(torch.equal(*both) for both in zip(again.parameters(), supernet.parameters(), strict=True))


def test_what_else_is_in_the_file_can_be_read(saved):
    content = read_checkpoint(saved)
    assert content["epoch"] == 3
    assert torch.equal(content["optimizer"]["momentum"], torch.ones(2))


def test_it_loads_onto_the_device_asked_for(saved):
    assert {parameter.device.type for parameter in load_supernet(saved, "meta").parameters()} == {"meta"}


def test_a_failed_save_leaves_the_old_file(fresh, tmp_path):
    path = tmp_path / "supernet.pt"
    save_supernet(path, fresh("px8", 1))
    before = path.read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_supernet(path, fresh("px8", 1), {"hook": lambda: None})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_said_to_be(tmp_path):
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        load_supernet(tmp_path / "none.pt")


@settings(deadline=None, max_examples=15)
@given(part=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(saved, part):
    cut = saved.with_name("cut.pt")
    data = saved.read_bytes()
    cut.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"cut\.pt: cannot be read as a checkpoint"):
        load_supernet(cut)


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b'{"format": 1}', b"PK\x03\x04", pickle.dumps({1: 2})[:-1]])
def test_foreign_bytes_are_refused(tmp_path, data):
    (tmp_path / "foreign.pt").write_bytes(data)
    with pytest.raises(InputError, match=r"foreign\.pt: "):
        load_supernet(tmp_path / "foreign.pt")


class Trap:
    """What an attacker would put into a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cannot_run_code(tmp_path, zipped):
    path, victim = tmp_path / "trap.pt", tmp_path / "victim"
    torch.save({"format": FORMAT, "model": Trap(str(victim))}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"trap\.pt: cannot be read .* \(it holds an object of posix\.mkdir"):
        load_supernet(path)
    assert not victim.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"model": {"a": torch.zeros(2)}, "args": Namespace(lr=1)},
            "it holds an object of argparse.Namespace, which could run code",
        ),
        ({"a": [1, {"b": {3: Path("x")}}]}, "it holds an object of pathlib"),
        (
            {"a": Counter("x"), "b": {1, 2}, "c": torch.nn.Linear(1, 1)},
            "it holds an object of torch.nn.modules",
        ),
        (torch.nn.Linear(1, 1), "it holds an object of torch.nn.modules.linear.Linear"),
    ],
)
def test_what_else_a_file_holds_is_named_and_nobody_is_told_to_unpickle_it(tmp_path, zipped, content, said):
    path = tmp_path / "other.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError) as raised:
        load_supernet(path)
    assert f"other.pt: cannot be read as a checkpoint of tensors and plain values ({said}" in str(raised.value)
    assert "weights_only" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "another 2"}, "format is 'another 2', expected 'fewshot_nas supernet 1'"),
        ({"groups": 8}, "groups is 8, expected 1..7"),
        ({"groups": "two"}, "does not describe a supernet"),
        ({"num_classes": -1}, "does not describe a supernet"),
        ({"space": {"name": "px8"}}, "does not describe a supernet"),
        ({"space": 5}, "does not describe a supernet"),
        ({"model": 5}, "does not describe a supernet"),
        ({"model": {}}, r"tensor 'blocks.0_0.main.0.conv.weight' is missing, expected one of shape \[8, 1, 3, 3\]"),
        ({"groups": 3}, "tensor 'blocks.1_0.main.0.conv.weight' has shape"),
        ({"num_classes": 11}, r"tensor 'heads.24_0.linear.weight' has shape \[10, 58\], expected \[11, 58\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(saved, tmp_path, change, message):
    torch.save(read_checkpoint(saved) | change, tmp_path / "odd.pt")
    with pytest.raises(InputError, match=rf"odd\.pt: {message}"):
        load_supernet(tmp_path / "odd.pt")


def test_a_file_without_a_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt: holds a list, expected a dict"):
        load_supernet(tmp_path / "list.pt")


def test_a_few_bytes_are_not_taken_for_a_large_network(saved, tmp_path):
    """A tensor of stride 0 has any shape and hardly any bytes; a copy of it would fill the memory."""
    content = read_checkpoint(saved)
    content["model"] = {key: torch.zeros(1).expand(tensor.shape) for key, tensor in content["model"].items()}
    torch.save(content, tmp_path / "thin.pth")
    assert (tmp_path / "thin.pth").stat().st_size < saved.stat().st_size / 2
    with pytest.raises(InputError, match=r"thin.pth: tensor '.*' does not hold all its [\d,]+ numbers"):
        load_supernet(tmp_path / "thin.pth")
