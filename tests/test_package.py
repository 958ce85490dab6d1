"""What is installed has all that the commands need, wherever they run."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fewshot_nas.records.files import PACKAGE, here_or_shipped

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
SMALL = ["space.base_widths=[4,6,10,20]", "training.epochs=1", "training.batch_size=256", "data.valid_images=50"]


def test_a_file_here_comes_before_the_package_s(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("json_file/digits/gt_arch30.json")
    assert here_or_shipped(path) == PACKAGE / path
    path.parent.mkdir(parents=True)
    path.touch()
    assert here_or_shipped(path) == path


@pytest.mark.parametrize("path", ["json_file/none", "space", "/json_file/json8", "results/digits/gt_arch30.json"])
def test_other_paths_stay_as_they_are(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert here_or_shipped(Path(path)) == Path(path)


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_directory(tmp_path):
    """The main job with nothing but defaults for pool and ground truth: train, score a sample, merge, report."""
    pytest.importorskip("setuptools")
    source, site, empty = tmp_path / "source", tmp_path / "site", tmp_path / "empty"
    for name in ("fewshot_nas", "json_file"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    assert wheel.stat().st_size < 10e6
    empty.mkdir()

    def run(command, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(site)}
        words = [sys.executable, "-m", f"fewshot_nas.{command}", "--save=mine", *arguments]
        outcome = subprocess.run(words, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    assert "of 30 archs" in run("train_supernet", *SMALL)
    run("test", "--sample=30", "--epoch=0")
    merged = run("merge", "--epoch=0_sample30", "--top=prob")
    assert "45000 archs, 44970 of them predicted" in merged
    run("report", "--top=prob")
    assert sorted(path.name for path in empty.iterdir()) == ["results"]
