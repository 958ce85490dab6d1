"""Spaces of another shape through all commands: pool, training, splits, evaluation, merge, report, export."""

import json

import pytest

from fewshot_nas import (
    export,
    latency,
    make_pool,
    merge,
    rank,
    report,
    search,
    test,
    train_few_shot,
    train_stand_alone,
    train_supernet,
)
from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import load_supernet
from studies.arms.splits import by_depth

SETTINGS = """
space:
  preset: cifar
  in_channels: 1
  resolution: 8
  base_widths: [16, 16, 32]
  depths: [[1, 2], [1, 3], [1, 2]]
  block: BLOCK
data: {train_images: 100, valid_images: 50}
training: {epochs: 1, batch_size: 50}
few_shot: {epochs: 1, batch_size: 50}
evaluation: {calibration_images: 64, calibration_batch: 32}
run: {pool: pool}
"""


@pytest.fixture
def begun(request, tmp_path, monkeypatch):
    """A directory with a pool of another space and its one-shot supernet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yml").write_text(SETTINGS.replace("BLOCK", getattr(request, "param", "basic")))
    make_pool.main(["--config=own.yml", "--size=12", "--parts=2", "--out=pool"])
    train_supernet.main(["--config=own.yml", "--save=own"])
    return tmp_path


def scored(phase):
    """Evaluate and merge a phase."""
    test.main(["--save=own", f"--split_group={phase}", "--json_part=all"])
    merge.main(["--save=own", f"--stage={phase}", "--epoch=0"])


def split(*options):
    train_few_shot.main(["--config=own.yml", "--save=own", *options])


@pytest.mark.slow
@pytest.mark.parametrize("begun", ["basic", "bottleneck"], indirect=True)
def test_a_space_of_three_stages_goes_through_all_commands(begun, capsys):
    split("--group_nums=2")
    split("--group_nums=3")
    split("--split_by=choice", "--slots=1 depth")
    for phase in ("1", "2", "3_from_2", "3-choice1depth_from_3"):
        scored(phase)
        home = begun / "results" / "own" / ("" if phase == "1" else phase) / "json_results" / "epoch0"
        assert len(json.loads((home / "top1_json_final.json").read_text())) == 12
    report.main(["--save=own"])
    assert "3-choice1depth_from_3" in (begun / "results" / "own" / "report.html").read_text()
    code = json.loads((begun / "pool" / "part1.json").read_text())["arch1"]["arch"]
    export.main(["--model=results/own/3_from_2/supernet.pth", f"--arch={code}", "--out=subnet.pt"])
    assert "calibrated on 64 training images" in capsys.readouterr().out


OWN = """
from dataclasses import replace

from fewshot_nas.space.split import one_shot
from studies.arms.splits import by_depth


def middle(space):
    return by_depth(space, [1], 2)


def nothing(space):
    return None


def _(space):
    return one_shot(space)
"""


def test_a_split_of_ones_own_is_a_phase_within_its_parent(begun, monkeypatch, capsys):
    monkeypatch.syspath_prepend(begun)
    (begun / "mine.py").write_text(OWN)
    split("--split_by=mine:middle")
    supernet = load_supernet(begun / "results" / "own" / "ownmiddle" / "supernet.pth")
    assert supernet.split == by_depth(supernet.space, [1], 2)
    scored("ownmiddle")
    split("--split_by=choice", "--slots=0 out", "--split_model_path=results/own/ownmiddle/supernet.pth")
    assert "phase ownmiddle-choice0out_from_ownmiddle" in capsys.readouterr().out
    for name in ("nothing", "_"):
        with pytest.raises(InputError, match="expected a function whose name has letters and that makes a Split"):
            split(f"--split_by=mine:{name}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected --group_nums for a split by width"),
        (["--split_by=none", "--group_nums=2"], "expected --group_nums for a split by width, and only there"),
        (
            ["--split_by=depth"],
            "--split_by is 'depth', expected one of width, choice, none, or module:name",
        ),
        (["--split_by=no_such_module:split"], "which cannot be imported"),
    ],
)
def test_a_split_that_cannot_be_is_one_sentence(begun, options, message):
    with pytest.raises(InputError) as caught:
        split(*options)
    assert message in str(caught.value)


def test_a_pool_larger_than_the_space_is_refused(tmp_path):
    with pytest.raises(InputError, match="the pool is to have 99 archs, but space px8 changed has only 16 for a pool"):
        make_pool.main(
            [
                "space.pool_digits=[1,1,1,1]",
                "space.depths=[[2,3],[2,3],[2,3],[2,3]]",
                "--size=99",
                f"--out={tmp_path}",
            ]
        )


PATHS = """
space:
  preset: cream
  in_channels: 1
  resolution: 8
  stem_width: 8
  stem_stride: 1
  widths: [8, 16]
  strides: [1, 2]
  lengths: [1, 2]
  last_width: 16
  head_width: 12
  kernels: [3, 5]
  expansions: [1, 2]
data: {train_images: 100, valid_images: 50}
training: {epochs: 1, batch_size: 50}
few_shot: {epochs: 1, batch_size: 50}
evaluation: {calibration_images: 64, calibration_batch: 32}
run: {pool: pool, ground_truth: truth.json}
"""


@pytest.mark.slow
def test_paths_go_through_all_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yml").write_text(PATHS)
    make_pool.main(["--config=own.yml", "--size=24", "--parts=2", "--out=pool"])
    code = json.loads((tmp_path / "pool" / "part1.json").read_text())["arch1"]["arch"]
    assert code.startswith("[[0],[")
    train_supernet.main(["--config=own.yml", "--save=own"])
    split("--split_by=choice", "--slots=1 block 0")
    train_stand_alone.main(["--config=own.yml", "--save=own", "--target_arch_num=1-5", "--ground_truth=truth.json"])
    train_stand_alone.main(["--config=own.yml", "--save=own", f"--target_arch_num={code}", "--ground_truth=one.json"])
    for phase in ("1", "choice1block0"):
        scored(phase)
    rank.main(["--save=own"])
    search.main(["--save=own", "--phase=choice1block0", "--max=macs=10M", "--budget=15"])
    latency.main(["--save=own", "--out=table.json", "--rounds=1"])
    report.main(["--save=own"])
    export.main(["--model=results/own/choice1block0/supernet.pth", f"--arch={code}", "--out=subnet.pt"])
    assert (tmp_path / "subnet.pt").exists()


def test_a_phase_that_is_only_planned_is_of_the_runs_space(begun, capsys):
    assert test.main(["--save=own", "--split_group=2", "--json_part=all", "--plan"]) == 0
    assert "12 archs, 12 distinct networks" in capsys.readouterr().out
