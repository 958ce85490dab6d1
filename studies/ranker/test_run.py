"""The ranker's tables are made from committed scores, and the budget's from measured probabilities."""

import numpy as np
import pytest

from fewshot_nas.ranking.correlation import correlate
from fewshot_nas.records.files import read_json
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.scores import Scored
from fewshot_nas.space.pool import make_pool, write_codes
from fewshot_nas.space.presets import SPACES
from studies.budget import run as budget
from studies.ranker import run as ranker

SPACE = SPACES["px28"]


@pytest.fixture
def study_ranker(tmp_path, monkeypatch):
    module = ranker
    monkeypatch.setattr(module, "RUNS", tmp_path)
    monkeypatch.setattr(module, "SCORES", tmp_path / "scores.json")
    monkeypatch.setattr(module, "PREDICTIONS", tmp_path / "predictions.json")
    return module


def test_the_smaller_evaluation_counts_and_predictions_keep_their_order(study_ranker, tmp_path):
    pool = make_pool(SPACE, 0, 4)
    run = tmp_path / "results" / "run"
    for directory, archs, value in (("epoch0_sample4", 4, 50.0), ("epoch0", 2, 60.0)):
        scores = {arch_id: Scored(value, SPACE.encode(arch)) for arch_id, arch in list(pool.items())[:archs]}
        write_merged(run / "json_results" / directory, "prob", scores, {})
    predicted = {
        arch_id: Scored(70 + rank / 3, SPACE.encode(arch)) for rank, (arch_id, arch) in enumerate(pool.items())
    }
    write_codes(run / "rank" / "predicted.json", predicted)
    study_ranker.collect(["run"])
    assert read_json(study_ranker.SCORES) == {"run": {"arch1": 60.0, "arch2": 60.0, "arch3": 50.0, "arch4": 50.0}}
    assert list(read_json(study_ranker.PREDICTIONS).items()) == [
        ("arch1", 70.0),
        ("arch2", 70.333),
        ("arch3", 70.667),
        ("arch4", 71.0),
    ]


def test_there_is_a_prediction_for_each_arch_of_the_pool():
    predictions = read_json(ranker.PREDICTIONS)
    assert len(predictions) == 45_000
    assert ranker.PREDICTIONS.stat().st_size < 2_000_000
    assert all(0 < value < 100 for value in predictions.values())
    truth = ranker.truth_of("fashion_pairs")
    common = {arch_id: predictions[arch_id] for arch_id in truth}
    assert correlate(common, truth, resamples=0).kendall.value > 0.7


def test_a_control_variate_takes_the_subsets_luck_away():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=400)
    full = rng.normal(size=(12, 1)) + rng.uniform(0.5, 2, size=(12, 1)) * difficulty
    subset = np.argsort(difficulty)[:40]  # the hardest
    assert budget._controlled(full, difficulty, subset) == pytest.approx(full.mean(1))
    assert np.abs(full[:, subset].mean(1) - full.mean(1)).max() > 0.05


def test_losses_are_those_against_the_setting_named(monkeypatch):
    pool = make_pool(SPACE, 0, 12)
    truth = {arch_id: float(rank) for rank, arch_id in enumerate(pool)}
    entries = {arch_id: type("Entry", (), {"acc": value}) for arch_id, value in truth.items()}
    monkeypatch.setattr(budget, "read_arch_file", lambda path, space: entries)
    reverse = {arch_id: -value for arch_id, value in truth.items()}
    arms = [
        {"name": "full", "share": 1.0, "over": "full", "scores": [truth]},
        {"name": "worse", "share": 0.5, "over": "full", "scores": [truth, reverse]},
    ]
    rows = list(budget.lines(arms))
    assert rows[2].startswith("| full | 100.00 % | 1.000 | full | +0.000 ")
    assert rows[3].startswith("| worse | 50.00 % | 0.000 | full | +1.000 ")
