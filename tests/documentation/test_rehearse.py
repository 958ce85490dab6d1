"""The rehearsal of the recipe of docs/imagenet.md: its lines, what is cut of them, and its table."""

import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fewshot_nas.data.sources import open_data
from fewshot_nas.records.files import write_text
from tests.script_module import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def rehearsal(tmp_path, monkeypatch):
    """The script as a module, with a place of its own."""
    module = load_script("rehearsal")
    monkeypatch.setattr(module, "PLACE", tmp_path)
    monkeypatch.setattr(module, "NOTES", tmp_path / "notes.jsonl")
    return module


@pytest.fixture
def cut(rehearsal):
    """How much of `configs/imagenet.yml` is rehearsed, with two processes."""
    size = rehearsal.Size("configs/imagenet.yml", 2, 8, 1, ["data.stored_side=256"])
    (rehearsal.PLACE / "size.json").write_text(json.dumps(size))
    return size


def test_every_line_of_the_section_is_run_with_cuts_that_its_command_takes(rehearsal, cut, noted, calls):
    """In the shell of all blocks, and in that of Slurm's jobs."""
    seen = []

    def follow(shell, *arguments, **variables):
        for words in noted(shell, *arguments, **variables):
            if words[0] in ("python", "torchrun"):
                seen.append(words)
            elif words[0].startswith("scripts/"):
                follow((ROOT / words[0]).read_text(), *words[1:])
            for job, environment in rehearsal.jobs(words[1:]) if words[0] == "sbatch" else ():
                script = (ROOT / job[0]).read_text() if job[0] != "-c" else job[1]
                slurm = {key: value for key, value in environment.items() if key.startswith("SLURM_")}
                follow(script, *(job[1:] if job[0] != "-c" else ()), **slurm)

    for number in (1, 2, 3, 4):
        follow(rehearsal.lines(number))
    commands = [command for words in seen for command in rehearsal.commands(words, cut)]
    last = [command[len(command) - 1 - command[::-1].index("-m") :] for command in commands]
    ran = Counter(call[0] for words in last for call in calls(shlex.join(["python", *words])))
    several = 2  # machines, each of which starts the same line
    assert ran == {
        **{"train_stand_alone": 1, "train_supernet": 1 + several + several, "train_few_shot": 6},
        **{"test": 1 + 8 + 1, "merge": 2, "report": 2},
    }


def test_a_page_of_other_blocks_is_noticed(rehearsal, monkeypatch, tmp_path):
    page = (ROOT / "docs" / "imagenet.md").read_text()
    write_text(tmp_path / "docs" / "imagenet.md", page.replace("## The recipe", "## The recipe\n```\nls\n```\n"))
    monkeypatch.setattr(rehearsal, "ROOT", tmp_path)
    with pytest.raises(AssertionError, match="has 5 blocks of shell, expected 4"):
        rehearsal.lines(1)


def test_the_photographs_are_a_data_set(rehearsal, tmp_path):
    rehearsal.photographs(tmp_path / "imagenet", 3)
    data = open_data("lists", tmp_path / "imagenet")
    assert (len(data.train), len(data.valid), len(data.test), data.num_classes) == (3, 3, 3, 3)
    assert data.train.image(0).shape == (3, 375, 500)


@pytest.mark.parametrize(
    ("words", "processes", "started"),
    [
        (["torchrun", "--nproc_per_node=8", "-m", "fewshot_nas.test"], 2, 1),
        (["torchrun", "--nnodes=4", "--rdzv_id=5", "-m", "fewshot_nas.test"], 1, 2),
        (["torchrun", "--nnodes=1", "-m", "fewshot_nas.test"], 2, 1),
    ],
)
def test_machines_are_stood_in_for_by_processes(rehearsal, cut, words, processes, started):
    commands = rehearsal.commands(words, cut)
    assert len(commands) == started
    assert all(f"--nproc_per_node={processes}" in command for command in commands)
    assert all(command[-2:] == ["--limit=1", "--images=8"] for command in commands)


def test_an_array_is_a_job_for_each_part(rehearsal, cut, capsys):
    found = list(rehearsal.jobs(["--parsable", "--array=1-8", "--nodes=3", "--wrap=ls $SLURM_ARRAY_TASK_ID"]))
    assert [job for job, _ in found] == [["-c", "ls $SLURM_ARRAY_TASK_ID"]] * 8
    assert [environment["SLURM_ARRAY_TASK_ID"] for _, environment in found] == list("12345678")
    assert found[0][1]["SLURM_JOB_NUM_NODES"] == "3"
    assert capsys.readouterr().out == "17\n"


def test_the_table_ends_with_hours(rehearsal, cut):
    cut = cut._replace(config=str(ROOT / cut.config))
    line = ["torchrun", "--nproc_per_node=8", "-m"]
    records = [
        {"words": [*line, "fewshot_nas.train_supernet"], "s": 60, "mb": 900, "images_per_s": 1000.0},
        {"words": [*line, "fewshot_nas.test", "--json_part=1-8"], "s": 128, "mb": 800, "images_per_s": None},
    ]
    text = "\n".join(rehearsal.table(records, cut))
    assert "| `fewshot_nas.train_supernet` | 60 | 900 | 1000.00 |" in text
    assert "| `fewshot_nas.test --json_part=1-8` | 128 | 800 |  |" in text
    hours = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", text, re.MULTILINE))
    assert hours["one-shot"] == f"{100 * 1_281_167 / 1000 / 3600:,.0f}"
    assert hours["scores (start-up counted as computing)"] == f"{45_000 * 58_192 / 3600:,.0f}"


def test_an_option_tells_the_usage():
    command = [shutil.which("bash"), ROOT / "scripts" / "rehearse.sh", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("usage: ")


def test_a_later_block_gets_the_files_of_the_first_and_no_second_copy_of_its_networks(rehearsal, tmp_path):
    """A copy of all takes 13 GB."""
    run = Path("results/imagenet")
    kept = {"log.jsonl", "stand_alone/arch1_seed0/last.pth", "7_from_6/supernet.pth", "7_from_6/manifest.json"}
    for name in kept | {"manifest.json", "supernet.pth", "7_from_6/last.pth", "7_from_6/json_results/17/prob.json"}:
        write_text(tmp_path / "1" / run / name, name)
    (tmp_path / "3").mkdir()
    rehearsal.lay_ready(3)
    there = tmp_path / "3" / run
    assert {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()} == kept
    assert (there / "7_from_6/supernet.pth").samefile(tmp_path / "1" / run / "7_from_6/supernet.pth")


@pytest.mark.slow
def test_the_rehearsal_runs_to_its_table(tmp_path):
    """On tiny images; all lines, in a copy of the project's files, because it begins results/rehearsal anew."""
    for name in ("scripts", "configs", "docs", "fewshot_nas", "json_file"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    small = "space.resolution=32 space.stem_pool=false space.base_widths=[16,24,32,64] space.divisor=2"
    small += " training.resolutions=[32] few_shot.resolutions=[32]"
    command = [shutil.which("bash"), "scripts/rehearse.sh", "configs/imagenet.yml", *small.split()]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "The whole recipe at these rates:" in ended.stdout
    assert ended.stdout.count("| `fewshot_nas.test --json_part=") >= 8
