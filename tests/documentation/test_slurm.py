"""The scripts for Slurm, run with stubs for its programs, and the command lines in comments."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TRAIN, EVALUATE, RAY = SLURM = tuple(ROOT / "scripts" / f"slurm_{name}.sh" for name in ("train", "evaluate", "ray"))
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


def test_ray_is_started_on_all_machines_with_what_the_job_has(noted):
    job = {"JOB_ID": "10005", "JOB_NODELIST": "node[1-2]", "GPUS_ON_NODE": "4", "CPUS_ON_NODE": "16"}
    job = {f"SLURM_{name}": value for name, value in job.items()}
    started = [words for words in noted(RAY.read_text(), "test", "--json_part=all", **job) if words[0] != "srun"]
    has = ["--block", "--num-cpus=16", "--num-gpus=4"]
    command = ["python", "-m", "fewshot_nas.test", "--json_part=all", "--executor=ray", "--address=node1:20005"]
    assert sorted(started) == sorted(
        [
            ["ray", "start", "--head", "--port=20005", "--include-dashboard=false", *has],
            ["ray", "health-check", "--address=node1:20005"],
            ["ray", "start", "--address=node1:20005", *has],
            command,
        ]
    )


def test_the_kubernetes_manifest_runs_a_command_of_ours(calls):
    manifest = yaml.safe_load((ROOT / "scripts" / "kuberay.yml").read_text())
    ((command, *arguments),) = calls(manifest["spec"]["entrypoint"])
    assert command == "test"
    assert "--executor" in arguments
    cluster = manifest["spec"]["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (head, workers)]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    assert pods[0]["volumes"] == pods[1]["volumes"]
    assert int(arguments[arguments.index("--workers") + 1]) == workers["maxReplicas"]


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
    assert outcome.stderr.startswith(f"usage: {'' if path is EVALUATE else 'sbatch '}scripts/{path.name} ")
