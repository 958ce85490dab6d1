"""The test bed's tables are made from accuracies and scores that are gathered from results."""

import pytest

from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.pool import Entry, make_pool, read_arch_file, write_arch_file
from fewshot_nas.space.presets import SPACES
from studies.pairs import table

PX8 = SPACES["px8"]

ARCHS = 12
SEVERAL = 8  # archs with three seeds


@pytest.fixture
def study_pairs(tmp_path, monkeypatch):
    """The tables with another home."""
    module = table
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(module, "HOME", tmp_path / "home")
    write_json(tmp_path / "home" / "pilot.json", {"wide": {"arch1": [1, 3], "arch2": [2, 2], "arch3": [6]}})
    monkeypatch.setattr(module, "PILOT", tmp_path / "home" / "pilot.json")
    monkeypatch.setattr(module, "STUDY", tmp_path / "home" / "study.json")
    return module


@pytest.fixture
def results(tmp_path):
    """A truth in the order of the archs, whose third seed has the opposite order, and a supernet that agrees."""
    archs = make_pool(PX8, 0, ARCHS)

    def add(truth, arch_id, seed, accuracy):
        run = {"arch_id": arch_id, "seed": seed, "valid": accuracy, "test": accuracy - 1}
        write_json(truth.with_suffix(".runs") / f"{arch_id}_seed{seed}.json", run)

    for name, count in (("truth/gt_arch200", ARCHS), ("twice/gt_arch30", SEVERAL)):
        truth = tmp_path / "results" / f"pairs_{name}.json"
        entries = {arch_id: Entry(50.0 + rank, arch) for rank, (arch_id, arch) in enumerate(archs.items())}
        for path in (truth, truth.with_stem(f"{truth.stem}_test")):
            write_arch_file(path, PX8, entries)
        for rank, arch_id in enumerate([*archs][:count]):
            add(truth, arch_id, 0, 50 + rank)
            if "truth/" in name and rank < SEVERAL:
                add(truth, arch_id, 1, 51 + rank)
                add(truth, arch_id, 2, 60 - rank)
    for metric in ("top1", "prob"):
        directory = tmp_path / "results" / "pairs_oneshot_s1" / "json_results" / "epoch0"
        write_arch_file(directory / f"{metric}_json1.json", PX8, entries)
    return tmp_path / "results"


def test_collecting_keeps_seeds_in_order_and_scores_by_metric(study_pairs, results):
    study_pairs.collect(results)
    study = read_json(study_pairs.STUDY)
    assert study["truth"]["valid"]["arch2"] == [51, 52, 59]
    assert study["truth"]["test"]["arch12"] == [60]
    assert study["twice"]["valid"] == {f"arch{number}": [49 + number] for number in range(1, SEVERAL + 1)}
    assert study["scores"]["oneshot_s1"]["prob"]["arch3"] == 52
    assert list(read_arch_file(study_pairs.HOME / "gt_arch200_test.json", PX8)) == [
        f"arch{n + 1}" for n in range(ARCHS)
    ]


def test_the_tables_say_how_far_seeds_agree_and_what_ranks(study_pairs, results):
    study_pairs.collect(results)
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ") for line in study_pairs.lines(read_json(study_pairs.STUDY))
    }
    assert rows["valid"][1:6] == [str(ARCHS), str(SEVERAL), "3", "-0.33", "-0.33"]  # one pair of seeds of three agrees
    assert rows["valid"][8].startswith("1.00")
    assert rows["oneshot_s1, prob"][1] == str(ARCHS)
    assert {"depth", "params", "macs", "oneshot_s1, top1"} < rows.keys()


def test_a_forms_noise_leaves_out_what_a_seed_adds_to_all(study_pairs):
    row = [*study_pairs._forms(read_json(study_pairs.PILOT))][2]
    assert row == "| wide | 3 | 2 | 3.0 | 2.6 | 1.00 |"
    assert study_pairs._noise([(1, 4), (2, 5), (7, 10)]) == 0


def test_the_upper_half_is_the_judges(study_pairs):
    """The seeds agree on the last four archs and on no others."""
    first, second = [4, 3, 2, 1, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8]
    runs = {f"arch{key}": accuracies for key, accuracies in enumerate(zip(first, second, strict=True))}
    judge = {f"arch{key}": key for key in range(8)}
    assert study_pairs._upper(runs, judge) == 1
    assert study_pairs._upper(runs, {arch_id: -value for arch_id, value in judge.items()}) == -1


def test_archs_with_more_seeds_than_others_lend_as_many(study_pairs):
    assert study_pairs._several({"a": [1, 2, 3], "b": [4, 5], "c": [6]}) == {"a": [1, 2], "b": [4, 5]}


def test_a_single_seeds_share_is_that_of_the_analysis_of_variance(study_pairs):
    """Spearman and Brown: a mean over three seeds has 3s / (1 + 2s) of a single seed's share s."""
    runs = {f"arch{n}": [n + 1.0, n - 0.5, n + 0.2] for n in range(6)}
    single = study_pairs._single(runs)
    assert 3 * single / (1 + 2 * single) == pytest.approx(study_pairs.reliability(runs).share)
