"""The merge command, from the parts on disk to the table that it prints."""

import dataclasses
import random
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config, RunConfig, SpaceConfig, dump_config
from fewshot_nas.merge import main
from fewshot_nas.ranking.correlation import correlate, proxies
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import manifest_path, merged_manifest_path, merged_path, shard_path
from fewshot_nas.results.run import Phase, phase_directory
from fewshot_nas.results.scores import METRICS, Score, write_shards
from fewshot_nas.space.pool import (
    PARTS,
    POOL_SIZE,
    Entry,
    make_pool,
    part_path,
    read_arch_file,
    split_pool,
    write_arch_file,
)
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

WHOLE_POOL = Path(__file__).parents[1] / "json_file" / "json8"
SPACE = SPACES["px28"]
PHASE = phase_directory("run", Phase.parse("3_from_2"))
SCORES = PHASE.scores("17_all_test")
ARGUMENTS = ("--save=run", "--stage=3_from_2", "--epoch=17_all_test")


def write_run(archs, limit=None):
    """A pool of four parts, their scores with manifests, a ground truth of ten archs and the settings."""
    rng = random.Random(0)
    for number, part in enumerate(split_pool(archs, 4), start=1):
        write_arch_file(
            part_path(PHASE.path / "pool", number), PX8, {key: Entry(0.0, arch) for key, arch in part.items()}
        )
        scored = list(part.items())[:limit]
        write_shards(
            SCORES, number, [Score(key, PX8.encode(arch), 50 * rng.random(), 90, 40, 30) for key, arch in scored]
        )
        write_json(manifest_path(SCORES, number), manifest(number, limit))
    truth = {key: Entry(70 + rng.random(), arch) for key, arch in list(archs.items())[:10]}
    write_arch_file(PHASE.path / "truth.json", PX8, truth)
    run = RunConfig(pool=PHASE.path / "pool", ground_truth=PHASE.path / "truth.json")
    PHASE.config.write_text(dump_config(dataclasses.replace(Config(), run=run, space=SpaceConfig(preset="px8"))))


def manifest(part, limit=None):
    network = {"space": SPACE.values(), "num_classes": 10, "resolution": 28}
    return {"precision": "fp32", "limit": limit, "part": part, "archs": limit or 10, **network}


@pytest.fixture
def archs():
    return make_pool(PX8, seed=0, size=40)


@pytest.fixture
def run(tmp_path, monkeypatch, archs):
    monkeypatch.chdir(tmp_path)
    write_run(archs)


def refusal(*arguments):
    with pytest.raises(InputError) as caught:
        main([*ARGUMENTS, *arguments])
    assert not merged_path(SCORES, "top1").exists()
    return str(caught.value)


def test_the_parts_become_one_file_in_the_pools_order(run, archs):
    assert main(ARGUMENTS) == 0
    parts = [read_arch_file(shard_path(SCORES, "top1", number), PX8) for number in range(1, 5)]
    merged = read_arch_file(merged_path(SCORES, "top1"), PX8)
    assert list(merged.items()) == [item for part in parts for item in part.items()]
    assert list(merged) == list(archs)


def test_merging_twice_gives_the_same_bytes(run):
    main(ARGUMENTS)
    first = merged_path(SCORES, "top1").read_bytes()
    main(ARGUMENTS)
    assert merged_path(SCORES, "top1").read_bytes() == first


def test_the_merged_manifest_holds_for_all_parts(run):
    main(ARGUMENTS)
    merged = read_json(merged_manifest_path(SCORES))
    assert merged == {key: value for key, value in read_json(manifest_path(SCORES, 1)).items() if key != "part"} | {
        "archs": 40
    }


def test_probabilities_have_their_own_file(run):
    main([*ARGUMENTS, "--top=prob"])
    assert {entry.acc for entry in read_arch_file(merged_path(SCORES, "prob"), PX8).values()} == {40}


def test_without_top_all_scores_are_merged_and_the_leading_ones_come_first(run, capsys):
    main(ARGUMENTS)
    assert all(merged_path(SCORES, metric).exists() for metric in METRICS)
    shown = capsys.readouterr().out
    assert shown.index("likelihood_json_final") < shown.index("top1_json_final")
    assert shown.index("supernet, likelihood") < shown.index("supernet, top-1")


def test_top5_has_its_own_file(run):
    main([*ARGUMENTS, "--top=5"])
    assert {entry.acc for entry in read_arch_file(merged_path(SCORES, "top5"), PX8).values()} == {90}
    assert not merged_path(SCORES, "top1").exists()


def test_the_table_compares_with_the_ground_truth_and_the_proxies(run, capsys):
    main([*ARGUMENTS, "--top=1"])
    shown, judged = capsys.readouterr().out.split("\n\n", 1)
    header, *rows = [re.split(r"  +", line) for line in shown.splitlines()[4:]]
    assert header[0] == "score"
    assert re.search(r"^supernet, top-1 .*\n(macs|params) ", judged, re.MULTILINE)
    assert "worth, in trained networks" in judged
    assert [row[0] for row in rows] == ["supernet, top-1", "depth", "params", "macs"]
    truth = read_arch_file(PHASE.path / "truth.json", PX8)
    accuracy = {key: entry.acc for key, entry in truth.items()}
    scores = {key: entry.acc for key, entry in read_arch_file(merged_path(SCORES, "top1"), PX8).items()}
    # The space is the manifests', not the one of the settings.
    by_macs = proxies(SPACE, {key: entry.arch for key, entry in truth.items()}, num_classes=10)["macs"]
    for row, values in ((rows[0], scores), (rows[3], by_macs)):
        tau = correlate(values, accuracy, resamples=0).kendall.value
        assert row[3].startswith(f"{tau:+.3f} [")


def test_the_seeds_spelling_of_a_run_works(run):
    assert main(["--save=./run", *ARGUMENTS[1:]]) == 0


def test_a_number_of_groups_names_the_phase(run):
    assert main(["--save=run", "--stage=3", "--epoch=17_all_test"]) == 0
    assert merged_path(SCORES, "top1").exists()


def test_the_one_shot_phase_lies_at_the_top_of_the_run(run, tmp_path):
    top = phase_directory("run", Phase.parse("1"))
    (PHASE.path / "json_results").rename(top.path / "json_results")
    PHASE.config.rename(top.config)
    assert main(["--save=run", "--stage=1", "--epoch=17_all_test"]) == 0
    assert merged_path(top.scores("17_all_test"), "top1").exists()


def test_a_tau_of_few_archs_is_said_to_tell_little(run, capsys):
    main(ARGUMENTS)
    assert "only 10 archs: tau and its interval tell little below 20" in capsys.readouterr().out


def test_without_a_ground_truth_there_is_a_file_and_no_table(run, capsys):
    main([*ARGUMENTS, "run.ground_truth=none.json"])
    assert capsys.readouterr().out.endswith(
        "none.json: no such file, so there is nothing to compare with (run.ground_truth)\n"
    )
    assert merged_path(SCORES, "top1").exists()


def test_too_few_common_archs_are_no_correlation(tmp_path, monkeypatch, capsys, archs):
    monkeypatch.chdir(tmp_path)
    write_run(archs, limit=2)
    main(ARGUMENTS)
    assert "only 2 of its 10 archs were scored, too few for a correlation" in capsys.readouterr().out
    assert len(read_arch_file(merged_path(SCORES, "top1"), PX8)) == 8


def test_a_missing_part_is_refused_even_by_force(run):
    shard_path(SCORES, "top1", 3).unlink()
    for force in ([], ["--force"]):
        assert "top1_json3.json does not exist (10 archs)" in refusal(*force)


def test_the_ways_out_of_a_missing_part_can_be_pasted(run, calls_of_hints):
    for part in (2, 3):
        shard_path(SCORES, "top1", part).unlink()
    (score, merge) = calls_of_hints(refusal())
    assert score == ["test", "--save=run", "--phase=3_from_2", "--epoch=17", "--test_set=1", "--json_part=2-3"]
    assert merge == ["merge", *ARGUMENTS[:1], "--phase=3_from_2", "--epoch=17_all_test", "--parts=1,4"]
    assert main(merge[1:]) == 0
    settings = {"checkpoint": "3_from_2/0.8100_17.pth", "calibration_images": 64}
    for part in (1, 4):
        write_json(manifest_path(SCORES, part), manifest(part) | settings | {"precision": "bf16"})
    merged_path(SCORES, "top1").unlink()
    assert calls_of_hints(refusal())[0] == [
        *score,
        "--model_name=0.8100_17",
        "--calibration_images=64",
        "--precision=bf16",
    ]


def test_some_parts_alone_are_marked_as_such(run, archs, capsys):
    shard_path(SCORES, "top1", 3).unlink()
    manifest_path(SCORES, 4).unlink()
    assert main([*ARGUMENTS, "--parts=1-2"]) == 0
    assert "20 archs in parts 1-2 of 4, not in the others" in capsys.readouterr().out
    assert list(read_arch_file(merged_path(SCORES, "top1"), PX8)) == list(archs)[:20]
    merged = read_json(merged_manifest_path(SCORES))
    assert (merged["parts"], merged["pool_parts"], merged["archs"]) == ("1-2", 4, 20)


@pytest.mark.parametrize("parts", ["0", "5", "2-1", "one", "1-5"])
def test_parts_are_those_of_the_pool(run, parts):
    assert refusal(f"--parts={parts}").startswith(f"--parts is {parts!r}, expected a list of 1..4 such as 1,3 or 1-2")


def test_a_missing_manifest_is_refused(run):
    manifest_path(SCORES, 2).unlink()
    assert refusal() == (
        f"{SCORES}/manifest2.json: no such file, so nobody knows how part 2 was scored; --force merges all the same"
    )


def test_differing_manifests_are_refused(run):
    write_json(manifest_path(SCORES, 2), manifest(2) | {"precision": "bf16"})
    assert refusal() == (
        f"{SCORES}/manifest2.json: precision is 'bf16', but 'fp32' in manifest1.json; --force merges all the same"
    )


def test_force_merges_and_warns(run, capsys):
    write_json(manifest_path(SCORES, 2), manifest(2) | {"precision": "bf16"})
    assert main([*ARGUMENTS, "--force"]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {SCORES}/manifest2.json: precision is 'bf16'")
    differing = read_json(merged_manifest_path(SCORES))["differing"]
    assert differing == {"precision": {"1": "fp32", "2": "bf16", "3": "fp32", "4": "fp32"}}


def test_force_does_without_any_manifest(run):
    for part in range(1, 5):
        manifest_path(SCORES, part).unlink()
    assert main([*ARGUMENTS, "--force"]) == 0
    assert len(read_arch_file(merged_path(SCORES, "top1"), PX8)) == 40


@pytest.mark.parametrize("epoch", ["17_all", "../17", "last"])
def test_an_epoch_is_a_number(run, epoch):
    with pytest.raises(InputError, match="expected a number such as 17, or 17_all_test"):
        main(["--save=run", "--stage=3_from_2", f"--epoch={epoch}"])


def test_an_evaluation_that_is_not_there_is_refused(run):
    with pytest.raises(InputError, match=r"epoch17: no such evaluation; there are `.* --epoch=17_all_test`"):
        main(["--save=run", "--stage=3_from_2", "--epoch=17"])


def test_the_only_evaluation_is_found_by_itself(run, calls_of_hints):
    """So is the only one that is not merged; of several, all are named."""
    assert main(["--save=run"]) == 0
    other = PHASE.scores("3")
    shutil.copytree(SCORES, other, ignore=shutil.ignore_patterns("*final*"))
    assert main(["--save=run"]) == 0
    assert merged_path(other, "top1").exists()
    with pytest.raises(InputError, match="several evaluations") as several:
        main(["--save=run"])
    named = [["merge", "--save=run", "--phase=3_from_2", f"--epoch={epoch}"] for epoch in ("17_all_test", "3")]
    assert calls_of_hints(str(several.value)) == named
    with pytest.raises(InputError, match=r"results/other: no such evaluation; `.*test --save=other --phase=1"):
        main(["--save=other"])


@pytest.mark.parametrize("option", ["--phase", "--stage", "--split_group", "--group_nums"])
def test_the_phase_has_the_competition_s_names_too(run, option):
    assert main(["--save=run", f"{option}=3", "--epoch=17_all_test"]) == 0


def test_the_whole_pool_merges_in_two_seconds(tmp_path, monkeypatch):
    """Processor time, with the interpreter's start: the tests' machine may be busy otherwise."""
    monkeypatch.chdir(tmp_path)
    SCORES.mkdir(parents=True)
    for part in range(1, PARTS + 1):
        shutil.copy(part_path(WHOLE_POOL, part), shard_path(SCORES, "top1", part))
        write_json(manifest_path(SCORES, part), manifest(part))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "fewshot_nas.merge", *ARGUMENTS, f"run.pool={WHOLE_POOL}"]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(read_json(merged_path(SCORES, "top1"))) == POOL_SIZE
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_networks_of_few_mistakes_are_ranked_by_mean_probability(run, capsys):
    main(ARGUMENTS)
    assert "decide the likelihoods" not in capsys.readouterr().out
    for part in range(1, 5):
        path = shard_path(SCORES, "top1", part)
        write_json(path, {key: {**each, "acc": 98.0} for key, each in read_json(path).items()})
    main(ARGUMENTS)
    assert "the mean top-1 is 98.00 %, so a few mistakes decide the likelihoods" in capsys.readouterr().out
