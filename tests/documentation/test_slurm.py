"""The scripts for Slurm, run with stubs for its programs, and the command lines in comments."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAIN, EVALUATE = SLURM = (ROOT / "scripts" / "slurm_train.sh", ROOT / "scripts" / "slurm_evaluate.sh")
CONFIGS = sorted((ROOT / "configs").iterdir())


@pytest.mark.parametrize("path", [*SLURM, *CONFIGS], ids=lambda path: path.name)
def test_a_comment_shows_command_lines_that_work(calls, path):
    shown = re.findall(r"^#   ((?:sbatch|torchrun|python|scripts/).*)$", path.read_text(), re.MULTILINE)
    assert all(calls(line) for line in shown)
    assert shown or path in CONFIGS


def test_all_parts_are_scored_and_merged(calls):
    *tests, merge, report = calls("scripts/slurm_evaluate.sh 'my run' 3_from_2 17 --partition=gpu")
    same = ("--save=my run", "--split_group=3_from_2", "--epoch=17", "--test_set=1")
    assert tests == [("test", *same, f"--json_part={part}") for part in range(1, 9)]
    assert merge == ("merge", "--save=my run", "--stage=3_from_2", "--epoch=17_all_test")
    assert report == ("report", "--save=my run")


def test_the_merge_waits_for_the_parts(noted):
    _, merge = noted(EVALUATE.read_text(), "save", "2", "17")
    assert "--dependency=afterok:17" in merge


def test_training_runs_on_all_machines(noted):
    job = {"JOB_ID": "5", "JOB_NUM_NODES": "2", "JOB_NODELIST": "node[1-2]", "GPUS_ON_NODE": "4", "CPUS_PER_TASK": "16"}
    job = {f"SLURM_{name}": value for name, value in job.items()}
    step, words = noted(TRAIN.read_text(), "train_few_shot", "--group_nums=2", **job)
    assert {"--cpus-per-task=16", "--kill-on-bad-exit=1"} < set(step)
    assert {"--nnodes=2", "--nproc_per_node=4", "--rdzv_endpoint=node1:29500", "--rdzv_id=5"} < set(words)
    assert words[-3:] == ["-m", "fewshot_nas.train_few_shot", "--group_nums=2"]


@pytest.mark.parametrize("path", SLURM, ids=lambda path: path.name)
def test_a_script_is_sound(path):
    assert os.access(path, os.X_OK)
    subprocess.run([shutil.which("bash"), "-n", path], check=True)
    _, strict, body = path.read_text().partition("set -euo pipefail\n")
    assert strict
    assert "#SBATCH" not in body  # Slurm reads none after the first command
    assert unquoted(body) == []


def unquoted(shell):
    """Variables that would fall apart at blanks; an assignment's do not."""
    bare = re.sub(r'"(\\.|[^"\\])*"', "", re.sub(r"^ *#.*", "", shell, flags=re.MULTILINE))
    return re.findall(r"(?<![=\w])\$[\w{@*]+", bare.replace("$#", ""))


def test_an_unquoted_variable_is_noticed():
    assert unquoted('save=$1\nrun "$save" $save "a $b"') == ["$save"]


@pytest.mark.parametrize("path", SLURM, ids=lambda path: path.name)
def test_without_arguments_a_script_tells_its_usage(path):
    outcome = subprocess.run([shutil.which("bash"), path], capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"usage: {'sbatch ' if path is TRAIN else ''}scripts/{path.name} ")
