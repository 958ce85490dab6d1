"""The import contracts of pyproject.toml hold, and they notice a violation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(directory):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    command += ["--config", str(directory / "pyproject.toml"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(directory)}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "fewshot_nas", tmp_path / "fewshot_nas")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(copy):
    outcome = lint(copy)
    assert outcome.returncode == 0, outcome.stdout
    assert "0 broken" in outcome.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("space/space.py", "import torch", "Space, ranking and results never import torch BROKEN"),
        ("space/cost.py", "import numpy", "Space and results use the standard library only BROKEN"),
        ("space/cost.py", "import sklearn", "Space and results use the standard library only BROKEN"),
        ("ranking/baselines.py", "import plotly", "Ranking uses numpy, scipy and scikit-learn only BROKEN"),
        ("ranking/baselines.py", "import torch", "Space, ranking and results never import torch BROKEN"),
        ("ranking/baselines.py", "import fewshot_nas.results", "Imports point down BROKEN"),
        ("results/scores.py", "import torch", "Space, ranking and results never import torch BROKEN"),
        ("results/scores.py", "import numpy", "Space and results use the standard library only BROKEN"),
        ("space/pool.py", "import fewshot_nas.running", "Imports point down BROKEN"),
        ("unlisted.py", "", "Imports point down BROKEN"),
    ],
)
def test_a_violation_breaks_its_contract(copy, module, statement, contract):
    path = copy / "fewshot_nas" / module
    assert path.exists() == (module != "unlisted.py")
    with path.open("a") as stream:
        stream.write(f"\n{statement}\n")
    outcome = lint(copy)
    assert outcome.returncode == 1
    assert contract in outcome.stdout
