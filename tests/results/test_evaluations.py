"""Merged evaluations, read together."""

import hashlib

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.evaluations import (
    common_network,
    leading_metric,
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
        write_merged(phase.scores("17"), metric, {"arch1": Scored(top1, PX8.encode(POOL["arch1"]))}, {})
    write_merged(phase.scores("17_all_test"), "top1", {"arch1": Scored(99.0, PX8.encode(POOL["arch1"]))}, {})
    assert leading_metric([phase]) == leads
