"""The evaluation command, from a supernet on disk to score files, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fewshot_nas import merge, rank, report
from fewshot_nas import test as command
from fewshot_nas.cli.main import run
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.results.directories import merged_path, shard_path
from fewshot_nas.results.run import Phase, phase_directory
from fewshot_nas.results.scores import LEADING
from fewshot_nas.space.pool import Entry, make_pool, part_path, read_arch_file, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]

SMALL = ["evaluation.calibration_images=32", "evaluation.calibration_batch=16", "run.pool=pool"]


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A run with a two-group supernet, and a pool of two parts."""
    monkeypatch.chdir(tmp_path)
    for number, part in enumerate(split_pool(make_pool(PX8, 1, 10), 2), start=1):
        write_arch_file(
            part_path(tmp_path / "pool", number), PX8, {key: Entry(0.0, arch) for key, arch in part.items()}
        )
    torch.manual_seed(0)
    directory = phase_directory("mine", Phase("2", "1"))
    save_supernet(directory.chosen, Supernet(by_width(PX8, 2), 10), {"epoch": 7})
    save_supernet(directory.model("0.81_17"), Supernet(by_width(PX8, 2), 10))
    return directory


def evaluate(*arguments):
    return run(command.main, ["--save=mine", "--split_group=2", "--images=20", *arguments, *SMALL])


def test_a_part_is_scored_on_the_ranking_images(saved, capsys):
    assert evaluate("--json_part=1") == 0
    scores = read_arch_file(saved.scores("7") / "top1_json1.json", PX8)
    assert list(scores) == [f"arch{number}" for number in range(1, 6)]
    manifest = json.loads((saved.scores("7") / "manifest1.json").read_text())
    assert (manifest["split"], manifest["images"], manifest["groups"], manifest["limit"]) == ("valid", 20, 2, None)
    assert "part 1 is scored" in capsys.readouterr().out


def test_of_too_few_training_images_all_are_taken(saved, capsys):
    asked = ["--calibration_images=9999", "data.train_images=40"]
    assert evaluate("--json_part=1", "--limit=1", *asked) == 0
    said = capsys.readouterr().out
    assert "evaluation.calibration_images is 9999, but there are 40 training images: all are taken" in said
    manifest = json.loads((saved.scores("7") / "manifest1.json").read_text())
    assert manifest["calibration_images"] == 40


def test_the_seeds_spelling_names_model_epoch_and_test_images(saved):
    assert evaluate("--json_part=2", "--model_name=0.81_17", "--epoch=17", "--test_set=1", "--limit=2") == 0
    assert list(read_arch_file(saved.scores("17_all_test") / "top5_json2.json", PX8)) == ["arch6", "arch7"]


def test_all_parts_at_once_can_be_merged(saved, capsys):
    assert evaluate("--json_part=all", "--limit=3") == 0
    assert run(merge.main, ["--save=mine", "--stage=2", "--epoch=7", "run.pool=pool"]) == 0
    merged = read_arch_file(saved.scores("7") / "top1_json_final.json", PX8)
    assert list(merged) == ["arch1", "arch2", "arch3", "arch6", "arch7", "arch8"]


def pool_of(parts, size):
    for number, part in enumerate(split_pool(make_pool(PX8, 1, size), parts), start=1):
        entries = {key: Entry(0.0, arch) for key, arch in part.items()}
        write_arch_file(part_path(Path("pool"), number), PX8, entries)


def test_a_sample_of_all_parts_is_scored_and_merged(saved, capsys):
    pool_of(3, 45)
    assert evaluate("--sample=20") == 0
    assert "20 archs, 20 distinct networks" in capsys.readouterr().out
    assert run(merge.main, ["--save=mine", "--stage=2", "--epoch=7_sample20", "run.pool=pool"]) == 0
    assert len(read_arch_file(merged_path(saved.scores("7_sample20"), LEADING), PX8)) == 20
    assert "20 archs in 3 parts: " in capsys.readouterr().out


def write_truth(*archs):
    entries = {f"t{number}": Entry(50.0 + number, arch) for number, arch in enumerate(archs)}
    write_arch_file(Path("truth.json"), PX8, entries)


TRUTH = "run.ground_truth=truth.json"


def test_a_sample_has_the_ground_truth_s_archs_beside_it(saved, capsys):
    """The truth has ids of its own; one of its archs is not in the pool. It grows, and is scored anew alone."""
    pool_of(3, 45)
    pool, (other,) = make_pool(PX8, 1, 45), make_pool(PX8, 7, 1).values()
    assert evaluate("--sample=20") == 0
    shards = [shard_path(saved.scores("7_sample20"), LEADING, part) for part in (1, 2, 3)]
    sampled = {key for shard in shards for key in read_arch_file(shard, PX8)}
    lacking = [key for key in pool if key not in sampled]
    merging = ["--save=mine", "--stage=2", "--epoch=7_sample20", "run.pool=pool", TRUTH]
    for archs in ([*lacking[:1]], lacking[:3]):
        write_truth(other, *(pool[key] for key in archs))
        before = shards[0].stat().st_mtime_ns
        assert evaluate("--sample=20", TRUTH) == 0
        assert shards[0].stat().st_mtime_ns == before
        assert run(merge.main, merging) == 0
        merged = read_arch_file(merged_path(saved.scores("7_sample20"), LEADING), PX8)
        assert set(merged) == {*sampled, *archs, f"code{PX8.encode(other)}"}
    assert re.search("supernet, likelihood +4 ", capsys.readouterr().out)
    assert run(rank.main, ["--save=mine", "run.pool=pool", TRUTH]) == 0
    assert re.search("combined, as if not scored +4 ", capsys.readouterr().out)
    assert run(report.main, ["--save=mine", TRUTH]) == 0
    assert "evaluation 7_sample20 on 20 images" in Path("results/mine/report.html").read_text()


def test_whole_parts_have_the_archs_of_the_truth_beside_them_that_the_pool_lacks(saved, capsys):
    """As the published truth beside the shipped pool: its ids mean other archs there."""
    pool_of(3, 45)
    pool, others = make_pool(PX8, 1, 45), list(make_pool(PX8, 7, 3).values())
    write_arch_file(
        Path("truth.json"), PX8, {f"arch{number}": Entry(50.0 + number, arch) for number, arch in enumerate(others, 1)}
    )
    for part in ("2", "1,3"):
        assert evaluate(f"--json_part={part}", "--limit=6", TRUTH) == 0
        there = shard_path(saved.scores("7"), LEADING, 0).exists()
        assert there == (part == "1,3")
    assert run(merge.main, ["--save=mine", "--stage=2", "--epoch=7", "run.pool=pool", TRUTH]) == 0
    merged = read_arch_file(merged_path(saved.scores("7"), LEADING), PX8)
    assert len(merged) == 18 + 3
    assert {f"code{PX8.encode(arch)}" for arch in others} == merged.keys() - pool.keys()
    assert re.search("supernet, likelihood +3 ", capsys.readouterr().out)


def test_of_a_large_truth_an_even_share_is_scored_and_a_small_pool_wholly(saved, capsys):
    write_truth(*make_pool(PX8, 7, 30).values())
    pool_of(3, 45)
    assert evaluate("--sample=20", TRUTH) == evaluate(TRUTH) == 0
    assert [len(read_arch_file(shard_path(saved.scores(name), LEADING, 0), PX8)) for name in ("7_sample20", "7")] == [
        5,
        11,
    ]
    assert "the pool has 45 archs; all of them are scored" in capsys.readouterr().out


def test_a_sample_s_scores_are_those_that_the_whole_pool_would_give(saved):
    pool_of(3, 24)
    assert evaluate("--sample=20") == evaluate("--json_part=all") == 0
    for part in (1, 2, 3):
        sampled, whole = (
            read_arch_file(shard_path(saved.scores(name), LEADING, part), PX8) for name in ("7_sample20", "7")
        )
        assert {i: entry.acc for i, entry in sampled.items()} == pytest.approx(
            {i: whole[i].acc for i in sampled}, abs=1e-3
        )


def test_a_part_without_an_arch_in_the_sample_can_be_merged(saved):
    pool_of(22, 44)
    assert evaluate("--sample=20") == 0
    assert run(merge.main, ["--save=mine", "--stage=2", "--epoch=7_sample20", "run.pool=pool"]) == 0
    assert len(read_arch_file(merged_path(saved.scores("7_sample20"), "top1"), PX8)) == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sample=11"], "--sample is 11, expected 20 to the 45 archs of the pool"),
        (["--sample=46"], "--sample is 46, expected 20 to the 45 archs of the pool"),
        (["--sample=20", "--limit=3"], "--limit is for --json_part"),
        (["--limit=3"], "--limit is for --json_part"),
    ],
)
def test_a_sample_that_cannot_be_is_refused(saved, capsys, arguments, said):
    pool_of(3, 45)
    assert evaluate(*arguments) == 2
    assert said in capsys.readouterr().err


def test_a_second_run_finds_the_scores(saved, capsys):
    evaluate("--json_part=1")
    before = (saved.scores("7") / "top1_json1.json").stat().st_mtime_ns
    assert evaluate("--json_part=1") == 0
    assert "the scores of part 1 are there already" in capsys.readouterr().out
    assert (saved.scores("7") / "top1_json1.json").stat().st_mtime_ns == before


def test_a_plan_computes_nothing(saved, capsys):
    assert evaluate("--json_part=1-2", "--plan") == 0
    assert "10 archs, 10 distinct networks" in capsys.readouterr().out
    assert not saved.scores("7").exists()


def test_what_torch_distributed_launch_and_public_code_call_options_is_understood(saved, capsys):
    (saved.path / "mine.yml").write_text("run: {pool: pool}")
    assert evaluate("--json_part=1", "--plan", "--local-rank=0", "--cfg", str(saved.path / "mine.yml")) == 0
    assert evaluate("--json_part=1", "--plan", "--local_rank", "0") == 0


def test_a_plan_needs_no_images(saved, capsys):
    assert evaluate("--json_part=1", "--plan", "data.name=lists", "data.root=nowhere") == 0
    said = capsys.readouterr().out
    assert "nowhere/train.txt: no such file" in said
    assert "planned without images, for 20 ranking images (--images says how many) and 10 classes" in said
    assert "MACs on 52 images instead of" in said


@pytest.mark.parametrize(("more", "count"), [((), 50_000), (("--images=70",), 70)])
def test_a_plan_without_images_has_as_many_test_images_as_imagenet(saved, capsys, more, count):
    given = ("--save=mine", "--split_group=2", "--test_set=1", "--json_part=1", "--plan", *more)
    assert run(command.main, [*given, *SMALL, "data.name=lists", "data.root=nowhere"]) == 0
    said = capsys.readouterr().out
    assert f"for {count:,} test images (--images says how many) and 10 classes" in said
    assert f"MACs on {count + 32} images instead of" in said


def test_a_plan_needs_no_supernet_and_no_pixels(saved, capsys, monkeypatch):
    monkeypatch.setattr("fewshot_nas.running.images.decoded", None)
    assert evaluate("--json_part=1-2", "--plan") == 0
    of_the_supernet = capsys.readouterr().out
    saved.chosen.unlink()
    assert evaluate("--json_part=1-2", "--plan") == 0
    assert capsys.readouterr().out == of_the_supernet
    assert evaluate("--plan", "--arch", f"{PX8.encode(PX8.largest)},{PX8.encode(PX8.smallest)}") == 0
    assert "\n2 archs, 2 distinct networks" in capsys.readouterr().out


def test_the_scores_of_one_code_are_printed_and_nothing_is_written(saved, capsys):
    evaluate("--json_part=1")
    codes = {arch_id: PX8.encode(arch) for arch_id, arch in make_pool(PX8, 1, 10).items()}
    stored = {metric: read_arch_file(shard_path(saved.scores("7"), metric, 1), PX8) for metric in ("top1", LEADING)}
    before = sorted(saved.path.rglob("*"))
    capsys.readouterr()
    assert evaluate(f"--arch={codes['arch2']},{codes['arch3']}") == 0
    lines = capsys.readouterr().out.splitlines()[1:]  # the first says what is worked on
    for arch_id, line in zip(("arch2", "arch3"), lines, strict=True):
        assert line.startswith(f"{codes[arch_id]}: top-1 {stored['top1'][arch_id].acc:.2f} %, top-5 ")
        assert line.endswith(f"likelihood {stored[LEADING][arch_id].acc:.2f} % on 20 ranking images")
    assert sorted(saved.path.rglob("*")) == before


def test_another_pool_is_another_evaluation(saved, capsys):
    evaluate("--json_part=1")
    for number, part in enumerate(split_pool(make_pool(PX8, 2, 10), 2), start=1):
        entries = {arch_id: Entry(0.0, arch) for arch_id, arch in part.items()}
        write_arch_file(part_path(Path("pool"), number), PX8, entries)
    assert evaluate("--json_part=1") == 2
    assert "was written with pool_sha256 " in capsys.readouterr().err


def test_a_supernet_of_other_classes_is_refused(saved, capsys):
    save_supernet(saved.chosen, Supernet(by_width(PX8, 2), 20), {"epoch": 7})
    assert evaluate("--json_part=1") == 2
    assert "supernet.pth: has 20 classes, but digits has 10" in capsys.readouterr().err


def test_bfloat16_is_another_evaluation(saved, capsys):
    evaluate("--json_part=1")
    assert evaluate("--json_part=1", "--precision=bf16") == 2
    assert "was written with precision fp32 (now bf16)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--json_part=3", "--json_part is '3', expected 1..2, a list such as 1,2, a range such as 1-2, or all"),
        ("--json_part=2-1", "--json_part is '2-1'"),
        ("--json_part=one", "--json_part is 'one'"),
        ("--json_part=1-99999999999", "--json_part is '1-99999999999', expected 1..2"),
        ("--json_part=99999999999999999999", "--json_part is '99999999999999999999', expected 1..2"),
        ("--json_part=", "--json_part is empty, expected a value; is a variable of the shell not set?"),
        ("--epoch=-1", "--epoch is -1, expected 0 or more"),
        ("--local-rank=1", "--local-rank is 1, but LOCAL_RANK is 0; start several processes with torchrun"),
        ("--limit=0", "--limit is 0, expected at least 1"),
        ("--calibration_images=0", "evaluation.calibration_images is 0, expected a whole number >= 1"),
        ("--model_name=0.81_17", "0.81_17.pth: does not tell its epoch, which names the output; give --epoch"),
        ("data.name=lists", "error:"),
        ("--images=0", "--images is 0, expected 1..300"),
        ("--images=301", "--images is 301, expected 1..300"),
        ("--split_group=8", "'8' is not a phase"),
        ("--split_group=3", "results/mine/3/supernet.pth: no such file; finished phases are 2"),
        (
            "--save=new",
            "results/new/2/supernet.pth: no such file; `python -m fewshot_nas.train_few_shot --save=new ",
        ),
        ("--model_name=0.9_3", "results/mine/2/0.9_3.pth: no such file; the phase has supernet"),
        ("--model_name=../supernet", "--model_name is '../supernet', expected the name of a file in results/mine/2"),
        ("--workers=2", "--workers is for --executor ray"),
        ("--workers=0", "--workers is 0, expected at least 1"),
        ("--address=auto", "--address is for --executor ray"),
        ("--save=../mine", "--save is '../mine', expected the name of a directory"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_writes_nothing(saved, capsys, argument, message):
    assert evaluate("--json_part=1", argument) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not saved.scores("7").exists()


@pytest.fixture
def no_ray(monkeypatch):
    """A Python without Ray."""
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_its_executor_says_what_to_install(saved, capsys, no_ray):
    assert evaluate("--json_part=1", "--executor=ray") == 2
    assert "--executor ray needs Ray: pip install 'fewshot-nas[ray]'" in capsys.readouterr().err
    assert evaluate("--json_part=1", "--limit=1") == 0  # nothing else needs it


def test_torchrun_and_ray_do_not_go_together(saved, capsys, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert evaluate("--json_part=1", "--executor=ray") == 2
    assert "--executor ray is started once, not by torchrun" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_stays_within_the_setting(saved):
    """A child's peak resident set, while it scores a part with as large batches as it may."""
    wanted = ["--json_part=1", "--split_group=2", "--save=mine", "--test_set=1", "data.name=fashion_mnist"]
    space = SPACES["px28"]
    save_supernet(saved.chosen, Supernet(by_width(space, 2), 10), {"epoch": 7})
    wanted += ["evaluation.batch_size=10000", "evaluation.calibration_images=512", "evaluation.memory_mb=1200"]
    command = [sys.executable, "-m", "fewshot_nas.test", *wanted, "space.preset=px28", "run.pool=pool"]
    child = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True)
    if "no Fashion-MNIST" in child.stderr or child.returncode == 2:
        pytest.skip(child.stderr)
    assert child.returncode == 0, child.stderr
    peak_mb = int(child.stdout.splitlines()[-1]) / 1024
    assert 900 < peak_mb < 1.1 * 1200


_MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_too_little_memory_is_refused_before_anything_runs(saved, capsys):
    assert evaluate("--json_part=1", "evaluation.memory_mb=800") == 2
    assert "the evaluation may take 800 MB, but" in capsys.readouterr().err


def test_the_machine_s_memory_counts_where_no_setting_does(saved, capsys, monkeypatch):
    monkeypatch.setattr("fewshot_nas.scoring.scorer.memory_limit_mb", lambda device: 801)
    assert evaluate("--json_part=1") == 2
    assert "the evaluation may take 801 MB, but" in capsys.readouterr().err
    assert evaluate("--json_part=1", "evaluation.memory_mb=4000") == 0
    manifest = json.loads((saved.scores("7") / "manifest1.json").read_text())
    assert manifest["numerics"]["batch"] == 128
