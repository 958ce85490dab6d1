"""The checks for GPUs: their code on the CPU by default, themselves by `scripts/test.sh --gpu`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.checks import CHECKS, Row

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_holds_on_the_cpu(name):
    rows = CHECKS[name](torch.device("cpu"))
    assert rows
    assert all(row.holds for row in rows), rows


def test_a_value_beyond_its_bound_does_not_hold():
    assert not Row("", 2.0, 1.0).holds
    assert Row("", 2.0).holds


def test_no_gpu_is_seen_here():
    """Tests fork, and expect the memory and the file names of the CPU."""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not torch.cuda.is_available()


@pytest.mark.gpu
def test_all_checks_hold_on_a_gpu(tmp_path, capsys):
    """In a process of its own, which sees the GPUs that the tests do not."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES")
    if seen := environment.get("GPUS_OF_TESTS"):
        environment["CUDA_VISIBLE_DEVICES"] = seen
    command = [sys.executable, "-m", "tests.gpu.checks", "cuda", str(tmp_path / "rows.json")]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    with capsys.disabled():
        print(f"\n{ended.stdout}")
    assert ended.returncode == 0, ended.stderr[-4000:]
