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
from fewshot_nas.space.split import by_depth, explicit

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
    split("--group_nums=2", "--split_by=depth", "--stages=2,3")
    for phase in ("1", "2", "3_from_2", "3-depth23x2_from_3"):
        scored(phase)
        home = begun / "results" / "own" / ("" if phase == "1" else phase) / "json_results" / "epoch0"
        assert len(json.loads((home / "top1_json_final.json").read_text())) == 12
    report.main(["--save=own"])
    assert "3-depth23x2_from_3" in (begun / "results" / "own" / "report.html").read_text()
    code = json.loads((begun / "pool" / "part1.json").read_text())["arch1"]["arch"]
    export.main(["--model=results/own/3_from_2/supernet.pth", f"--arch={code}", "--out=subnet.pt"])
    assert "calibrated on 64 training images" in capsys.readouterr().out


def test_splits_by_depth_and_table_are_phases(begun, capsys):
    split("--group_nums=2", "--split_by=depth", "--stages=2")
    supernet = load_supernet(begun / "results" / "own" / "depth2x2" / "supernet.pth")
    space = supernet.space
    assert supernet.split == by_depth(supernet.space, [1], 2)
    scored("depth2x2")
    widths = [{space.width(stage, digit) for digit in range(1, space.digits + 1)} for stage in range(space.stages)]
    depths = [most - least + 1 for least, most in space.depths]
    tables = [[[0] * depth for _ in width] for width, depth in zip(widths, depths, strict=True)]
    (begun / "one.json").write_text(json.dumps([[[*row[:-1], 1] for row in tables[0]], *tables[1:]]))
    tables[1] = [[number * 2 // depths[1] for number in range(depths[1])] for _ in tables[1]]
    assert explicit(space, tables, "by depth") == supernet.split
    tables[0][-1][-1] = 1
    (begun / "Mine.json").write_text(json.dumps(tables))
    split("--split=Mine.json", "--split_model_path=results/own/depth2x2/supernet.pth")
    assert "phase table-mine_from_depth2x2: 2, 2, 1 groups by stage" in capsys.readouterr().out
    with pytest.raises(InputError, match="split table-one does not refine split depth2x2"):
        split("--split=one.json", "--split_model_path=results/own/depth2x2/supernet.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "expected either --group_nums or --split"),
        (["--group_nums=2", "--split=a.json"], "expected either --group_nums or --split"),
        (["--group_nums=2", "--stages=1"], "--stages is for --split_by=depth"),
        (["--split=a.json", "--split_by=depth"], "--split_by is for --group_nums"),
        (
            ["--group_nums=2", "--split_by=depth", "--stages=x"],
            "--stages is 'x', expected numbers of stages",
        ),
        (
            ["--group_nums=2", "--split_by=depth", "--stages=4"],
            "stage 4 cannot be split by depth, expected",
        ),
        (["--group_nums=3", "--split_by=depth", "--stages=1"], "stage 1 has 2 depths, too few for 3 groups"),
        (["--split=+.json"], "expected a file whose name has letters or digits"),
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
