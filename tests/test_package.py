"""What is installed has all that the commands need, wherever they run."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from fewshot_nas.records.files import PACKAGE, here_or_shipped
from fewshot_nas.version import __version__

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this source, built from a copy, so that nothing is left in it."""
    pytest.importorskip("setuptools")
    built = tmp_path_factory.mktemp("wheel")
    source = built / "source"
    for name in ("fewshot_nas", "json_file"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of a new environment that holds the wheel; all that it depends on is borrowed from this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True, with_pip=False)
    python = place / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", wheel)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture
def there(installed, tmp_path, monkeypatch):
    """Runs a command of the wheel in an empty directory, and returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = {**os.environ, "PATH": f"{installed.parent}{os.pathsep}{os.environ['PATH']}"}

    def run(*words):
        outcome = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    return run


def test_a_wheel_works_elsewhere(wheel, there, tmp_path):
    """Its commands, its pool and its truths are there; a small training runs."""
    assert wheel.stat().st_size < 10e6
    assert "fewshot-nas COMMAND" in there("fewshot-nas", "--help")
    said = there("fewshot-nas", "doctor")
    assert f"{__version__}, {tmp_path.parent}" in said, "not the source"
    assert "small training good" in " ".join(said.split())
    assert "30 networks" in there("fewshot-nas", "judge", "--truth=digits")
    assert "45000 distinct archs" in there("fewshot-nas", "make_pool", "--check=json_file/json8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_directory(there, tmp_path):
    """The main job with nothing but defaults for pool and ground truth: train, score a sample, merge, report."""

    def run(command, *arguments):
        return there("fewshot-nas", command, "--save=mine", *arguments)

    assert "of 30 archs" in run("train_supernet", *SMALL)
    run("test", "--sample=30", "--epoch=0")
    assert "37 archs" in run("merge", "--epoch=0_sample30"), "the sample, and seven of the ground truth"
    assert "45000 archs" in run("rank")
    run("report")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def _pip(*words):
    """Run pip without the network, which none of it needs, and without what PYTHONPATH shows it of this source."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PIP_NO_INDEX": "1"}
    line = [sys.executable, "-m", "pip", *map(str, words)]
    outcome = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
