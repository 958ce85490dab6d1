"""Merged evaluations, read together."""

import hashlib

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.journal import append
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.evaluations import (
    common_network,
    leading_metric,
    leading_of,
    merged_evaluations,
    read_evaluation,
    read_truth,
    refuse_other_pool,
)
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

POOL = make_pool(PX8, seed=0, size=10)
OTHER = make_pool(PX8, seed=1, size=10)


def codes_of(pool):
    return {arch_id: PX8.encode(arch) for arch_id, arch in pool.items()}


def scores_of(pool):
    return {arch_id: Scored(50.0, code) for arch_id, code in codes_of(pool).items()}


def written(directory, space="px8", **facts):
    write_merged(directory, LEADING, scores_of(POOL), {"space": SPACES[space].values(), "num_classes": 10, **facts})
    return read_evaluation(directory, LEADING, PX8)


def test_scores_and_manifest_are_read(tmp_path):
    evaluation = written(tmp_path)
    assert evaluation.scores == scores_of(POOL)
    assert common_network([evaluation], SPACES["px28"]).space == SPACES["px8"]


def test_an_evaluation_is_called_as_its_option_calls_it(tmp_path):
    assert written(tmp_path / "epoch17_all_test").epoch == "17_all_test"


def test_missing_scores_tell_what_was_expected(tmp_path):
    with pytest.raises(InputError, match=r"top1_json_final\.json: no such file; expected the directory of"):
        read_evaluation(tmp_path, "top1", PX8)


@pytest.mark.parametrize("pool", [OTHER, dict(list(POOL.items())[:5])])
def test_scores_of_another_pool_are_refused(tmp_path, pool):
    evaluation = written(tmp_path)
    refuse_other_pool(evaluation, codes_of(POOL))
    with pytest.raises(InputError, match="has another code than in the pool, or is not in the pool"):
        refuse_other_pool(evaluation, codes_of(pool))


def test_networks_of_two_kinds_are_refused(tmp_path):
    evaluations = [written(tmp_path / "one"), written(tmp_path / "two", num_classes=11)]
    with pytest.raises(InputError, match="differ in space, resolution or number of classes"):
        common_network(evaluations, SPACES["px8"])


def test_truths_are_matched_by_their_archs_and_called_by_their_codes_where_the_pool_lacks_them(tmp_path):
    path = tmp_path / "truth.json"
    entries = {arch_id: Entry(50.0, arch) for arch_id, arch in POOL.items()}
    other = Entry(60.0, OTHER["arch1"])
    assert read_truth(path, codes_of(POOL), PX8) == {}
    ids = reversed(entries)  # which mean other archs in the pool
    write_arch_file(path, PX8, dict(zip(ids, entries.values(), strict=True)) | {"else": other})
    assert read_truth(path, codes_of(POOL), PX8) == {**entries, f"code{PX8.encode(other.arch)}": other}


@pytest.mark.parametrize(
    ("evaluations", "first"),
    [
        ({"17_all_test": (10, "new"), "3_sample5": (5, "new")}, "3_sample5"),
        ({"17": (10, "old"), "3_sample5": (5, "new")}, "3_sample5"),
        ({"17": (5, "old"), "3": (8, "older")}, "3"),
        ({"3": (5, "new"), "17": (5, "new")}, "17"),
    ],
)
def test_the_evaluation_that_counts_is_of_the_present_supernet_and_on_ranking_images(tmp_path, evaluations, first):
    phase = PhaseDirectory(tmp_path)
    phase.chosen.write_bytes(b"new")
    for epoch, (archs, weights) in evaluations.items():
        facts = {"checkpoint_sha256": hashlib.sha256(weights.encode()).hexdigest()}
        write_merged(phase.scores(epoch), LEADING, dict(list(scores_of(POOL).items())[:archs]), facts)
    phase.scores("99").mkdir()
    assert merged_evaluations(phase, LEADING)[0] == phase.scores(first)
    assert len(merged_evaluations(phase, LEADING)) == len(evaluations)
    assert (leading_metric([phase]), merged_evaluations(phase, "top1")) == (LEADING, [])


@pytest.mark.parametrize(
    ("top1", "merged", "leads"),
    [
        (90.0, ["top1", "prob", "likelihood"], "likelihood"),
        (98.0, ["top1", "prob", "likelihood"], "prob"),
        (98.0, ["top1", "likelihood"], "likelihood"),
        (98.0, ["likelihood"], "likelihood"),
        (98.0, ["top1", "top5"], "top1"),
    ],
)
def test_mean_probability_leads_where_few_mistakes_are_left(tmp_path, top1, merged, leads):
    phase = PhaseDirectory(tmp_path)
    for metric in merged:
        merge_one(phase, "17", metric, top1)
    merge_one(phase, "17_all_test", "top1", 101.0)  # counts for nothing: (90 + 101) / 2 is more than 95
    assert leading_metric([phase]) == leads


def merge_one(phase, epoch, metric, value):
    write_merged(phase.scores(epoch), metric, {"arch1": Scored(value, PX8.encode(POOL["arch1"]))}, {})


def test_the_last_phase_decides_by_its_evaluation_that_counts(tmp_path):
    one, two, three = (PhaseDirectory(tmp_path / name) for name in ("1", "2", "3"))
    for metric in ("top1", "prob", "likelihood"):
        merge_one(one, "17", metric, 98.0)
        merge_one(two, "17", metric, 70.0)
    assert leading_metric([one]) == leading_metric([two, one]) == "prob"
    assert leading_metric([one, two]) == "likelihood"
    merge_one(two, "18", "top1", 98.0)  # a later epoch, without mean probabilities
    assert leading_metric([one, two, three]) == "top1"
    assert leading_of([one.scores("17"), two.scores("17")]) == "likelihood"
    assert leading_of([one.scores("17"), two.scores("18")]) == "top1"  # by which both are merged


def test_where_nothing_is_merged_training_tells_what_leads(tmp_path):
    phase = PhaseDirectory(tmp_path)
    assert leading_metric([phase]) == "likelihood"
    for record, leads in (
        ({"epoch": 0, "metric": "prob"}, "prob"),
        ({"epoch": 1}, "prob"),
        ({"chosen": {"epoch": 0, "metric": "likelihood"}}, "likelihood"),
        ({"chosen": {"epoch": 0, "metric": "prob"}}, "prob"),
    ):
        append(phase.log, record)
        assert leading_metric([phase]) == leads
    merge_one(phase, "17", "likelihood", 50.0)
    assert leading_metric([phase]) == "likelihood"
