"""What a report of a defect begins with."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from fewshot_nas import doctor
from fewshot_nas.cli.main import run
from fewshot_nas.version import __version__


def test_the_machine_is_described_and_a_small_training_ends_well(capsys, tmp_path, monkeypatch):
    """Nothing is left where it was started."""
    monkeypatch.chdir(tmp_path)
    assert run(doctor.main, []) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fewshot_nas"].startswith(__version__)
    assert {"python", "packages", "extras", "processor", "memory", "disk", "environment"} <= lines.keys()
    assert "torch 2" in lines["packages"]
    assert lines["small"].startswith("training good, ")
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_fails_is_said_in_its_own_words(capsys, monkeypatch):
    ended = subprocess.CompletedProcess([], 2, "", "a warning\nerror: the disk is full\n")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: ended)
    assert run(doctor.main, []) == 2
    assert capsys.readouterr().err == "error: the small training failed: the disk is full\n"


@pytest.mark.parametrize(("total", "said"), [(64e6, "docker run --shm-size=6g"), (24e9, "MB are free")])
def test_little_shared_memory_is_said(monkeypatch, total, said):
    usage = type("Usage", (), {"total": total, "free": total / 2, "used": total / 2})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    (line,) = (what for name, what in doctor.facts() if name == "shared memory")
    assert said in line
    assert ("docker" in line) == (total < 1e9)


def test_a_torchvision_for_another_torch_is_said(capsys, monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision")
    assert run(doctor.main, ["--quick"]) == 2
    said = capsys.readouterr().err
    assert f"torchvision {version('torchvision')} does not go with torch {version('torch')} (operator" in said
