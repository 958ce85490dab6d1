"""The study's tables are made from the committed scores, and those from results."""

import json

import pytest

from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.pool import Entry, make_pool, read_arch_file, write_arch_file
from fewshot_nas.space.presets import SPACES
from studies.mnist import table as study_table

PX8 = SPACES["px8"]


@pytest.fixture
def results(tmp_path):
    """A ground truth of three archs and two seeds, and a supernet of two phases; only the first saw test images."""
    archs = make_pool(PX8, 0, 3)
    truth = tmp_path / "study_truth" / "gt_arch30.json"
    for path in (truth, truth.with_stem("gt_arch30_test")):
        write_arch_file(
            path,
            PX8,
            {arch_id: Entry(float(rank), arch) for rank, (arch_id, arch) in enumerate(archs.items())},
        )
    for rank, arch_id in enumerate(archs):
        for seed in (1, 0):
            run = {"arch_id": arch_id, "seed": seed, "valid": rank + seed / 10, "test": rank - seed / 10}
            write_json(truth.with_suffix(".runs") / f"{arch_id}_seed{seed}.json", run)
    for place in ("json_results/epoch0", "json_results/epoch0_all_test", "2/json_results/epoch0"):
        scores = {arch_id: Entry(60.0 - rank, arch) for rank, (arch_id, arch) in enumerate(archs.items())}
        for metric in ("top1", "prob"):
            write_arch_file(tmp_path / "study_few_s1" / place / f"{metric}_json1.json", PX8, scores)
    record = json.dumps({"epoch": 9, "top1": {"largest": 85, "smallest": 71.5, "arch1": 80}})
    for place in (".", "2"):
        (tmp_path / "study_few_s1" / place / "log.jsonl").write_text(f"{record}\n")
    return tmp_path


def test_collecting_keeps_runs_by_seed_and_scores_by_phase(results, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setattr(study_table, "HOME", home)
    monkeypatch.setattr(study_table, "STUDY", home / "study.json")
    study_table.collect(results)
    study = read_json(home / "study.json")
    assert study["truth"]["valid"]["arch2"] == [1.0, 1.1]
    assert list(study["scores"]) == ["few_s1"]
    assert {phase: list(splits) for phase, splits in study["scores"]["few_s1"].items()} == {
        "1": ["valid", "test", "ends"],
        "2": ["valid", "ends"],
    }
    assert study["scores"]["few_s1"]["2"]["ends"] == {"largest": 85.0, "smallest": 71.5}
    assert list(read_arch_file(home / study_table.TRUTH, PX8)) == ["arch1", "arch2", "arch3"]
    rows = [line for line in study_table.lines(study) if "one-shot 4, then" in line]
    assert [row.split(" | ")[4].split()[0] for row in rows] == ["-1.00", "-1.00"]
