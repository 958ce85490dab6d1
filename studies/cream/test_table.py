"""Cream's study: its page shows what its script prints, and its numbers say what the plan asks."""

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.pool import read_codes
from studies.common import ROOT
from studies.cream import run as study
from studies.cream import table as tables


@pytest.mark.golden
def test_the_page_shows_what_the_script_prints(capsys):
    """Not all of it; the page's first table has words."""
    page = (ROOT / "docs" / "cream_study.md").read_text().split("\n## Learning\n")[1]
    assert study.main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert [row for row in rows if row not in printed] == []


def test_without_a_study_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(study, "STUDY", tmp_path / "study.json")
    with pytest.raises(InputError, match=r"study.json: no such file; `python -m studies.cream.run --collect` writes"):
        study.main([])


@pytest.mark.golden
def test_the_truth_is_of_the_pool_and_of_the_committed_runs():
    pool, truth = (read_codes(path, str) for path in (study.POOL, tables.HOME / "gt_paths60.json"))
    runs = read_json(study.STUDY)["truth"]
    assert len(truth) == len(runs) == 60
    for name, (accuracy, code) in truth.items():
        assert code == pool[name][1]
        assert accuracy == pytest.approx(sum(runs[name]) / len(runs[name]), abs=0.01)


def test_a_gain_is_of_means_over_a_median():
    found, others = [[60.0, 62.0], [64.0, 66.0]], [[50.0, 52.0], [54.0, 56.0], [58.0, 60.0]]
    gain = tables.gain_over_median(found, others)
    assert gain.value == pytest.approx(63 - 55)
    assert 0 < gain.low < gain.value < gain.high
    same = tables.gain_over_median(others, others)
    assert same.low < 0 < same.high


def test_the_noise_of_a_seed_is_told_from_differences_of_paths():
    """Of two recipes with the same spread of means, the one whose seeds agree has the larger share."""
    noisy = {f"arch{n}": [40.0 + n - 3, 40.0 + n + 3] for n in range(8)}
    calm = {f"arch{n}": [40.0 + n - 0.1, 40.0 + n + 0.1] for n in range(8)}
    noisy_row, calm_row = list(tables.reliabilities({"noisy": noisy, "calm": calm}))[-2:]
    assert "| noisy | 8 | 2 | 43.5 | 0.0 | 4.2 | 0.00 |" in noisy_row
    assert "| calm | 8 | 2 | 43.5 | 2.4 | 0.1 | 1.00 | 1.00 | 0.97 |" in calm_row


def test_what_is_collected_keeps_the_trials_before(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(study, "STUDY", tmp_path / "study.json")
    monkeypatch.setattr(study, "RUNS", tmp_path / "runs")
    write_json(study.STUDY, {"pilot": {"a": {}}, "learning": {"slow": [1.0]}})
    write_json(tmp_path / "runs" / "arch2_seed1.json", {"arch_id": "arch2", "seed": 1, "valid": 51.0})
    write_json(tmp_path / "runs" / "arch2_seed0.json", {"arch_id": "arch2", "seed": 0, "valid": 50.0})
    found = study.search_directory("study_cream/shared_s1").chosen
    write_json(found, {"top1": 77.0})
    study.collect()
    content = read_json(study.STUDY)
    assert content["pilot"] == {"a": {}}
    assert content["learning"]["shared"] == [77.0]
    assert content["learning"]["slow"] == []
    assert content["truth"] == {"arch2": [50.0, 51.0]}
