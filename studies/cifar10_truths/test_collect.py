"""The study by public truths: its samples, its rules, its predictions."""

import csv
import json

import numpy as np
import pytest

from fewshot_nas.ranking.truth import published
from fewshot_nas.space.presets import SPACES
from studies.cifar10_truths import bed as bed_module
from studies.cifar10_truths import collect, compare
from studies.cifar10_truths import run as study


def test_a_sample_depends_on_the_keys_only_and_a_larger_one_contains_it():
    keys = [f"{number:07}" for number in range(500)]
    small, large = study.sample(keys, 50), study.sample(keys[::-1], 100)
    assert len(set(small)) == 50
    assert set(small) < set(large)
    assert small == sorted(small)


def test_scores_that_were_written_are_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "SCORES", tmp_path)
    (tmp_path / "macro_sandwich_0.jsonl").write_text('["00000000", [1.0, 2.0, 3.0]]\n')
    asked = []

    class Found:
        top1, prob, likelihood = 4.0, 5.0, 6.0

    def score(supernet, archs, **_):
        asked.extend(archs)
        return [Found] * len(archs)

    monkeypatch.setattr(study, "score", score)
    study.score_keys("macro/sandwich/0", tmp_path, ["00000000", "00000001"], "nowhere")
    assert asked == [SPACES["macro_quarter"].decode("00000001")]
    assert dict(study.read_scores(tmp_path / "macro_sandwich_0.jsonl"))["00000001"] == [4, 5, 6]


def test_the_cost_of_an_arm_follows_its_settings():
    """Twice the width is about four times the multiply-adds; an early epoch has seen fewer images."""
    default, half, early, on, paths = (
        collect.training_cost("channel_resnet", name)
        for name in ("all_default", "half", "all_epoch_2_default", "on_002", "paths")
    )
    assert half == pytest.approx(4 * default, rel=0.02)
    assert early == pytest.approx(default * 3 / 8)
    assert on == pytest.approx(default * 14 / 8)
    assert paths == pytest.approx(default, rel=0.02)


@pytest.fixture
def bed(tmp_path, monkeypatch):
    """Macro networks that are the better the more they compute, and scores that are noise but for the likelihood."""
    space, rng = SPACES["macro"], np.random.default_rng(0)
    keys = ["".join(map(str, row)) for row in rng.integers(0, 3, (400, 8))]
    content = {}
    for key in keys:
        cost = space.cost(space.decode(key), num_classes=10)
        content[key] = {"test_acc": [80 + 1e-7 * cost.macs] * 2, "flops": cost.macs, "params": cost.params}
    path = tmp_path / collect.FILES["macro"]
    path.write_text(json.dumps(content))
    truth = published("macro", 1, path)
    lines = [
        json.dumps([key, [50 + rng.normal(), 50 + rng.normal(), float(accuracy) - 50]])
        for key, accuracy in zip(truth.keys, truth.accuracy, strict=True)
    ]
    (tmp_path / "macro_all_sandwich_0.jsonl").write_text("\n".join(lines))
    monkeypatch.setattr(bed_module, "SCORES", tmp_path)
    monkeypatch.setattr(bed_module, "PREDICTIONS", tmp_path / "predictions")
    monkeypatch.setattr(collect, "PREDICTIONS", tmp_path / "predictions")
    return collect.Bed("macro", tmp_path)


def test_the_half_at_hand_is_cut_from_the_published_table(tmp_path):
    known, *others = study.at_hand("macro")
    assert len(others) == 3_294
    (tmp_path / bed_module.PUBLISHED["macro"]).write_text(json.dumps({known: {"test_acc": [90.0]}, "99999999": {}}))
    path = bed_module.half("macro", tmp_path)
    assert json.loads(path.read_text()) == {known: {"test_acc": [90.0]}}
    path.write_text("{}")
    assert bed_module.half("macro", tmp_path).read_text() == "{}"


RULES = {"rule": ("likelihood", 0.0, 0.0), "rule with NASWOT": ("likelihood", 0.0, 0.5)}


def test_the_rule_that_ranks_best_is_chosen(bed):
    assert collect.chosen([bed], untrained=False)[0] == "likelihood"
    assert collect.chosen([bed], untrained=False)[2] == 0
    by_likelihood = collect.merit(bed, RULES["rule"])
    assert by_likelihood > collect.merit(bed, ("prob", 0.0, 0.0)) + 0.5


def test_supernets_agree_with_untrained_networks_as_far_as_they_rank_alike(bed, tmp_path):
    for seed, sign in ((1, 1), (2, -1)):
        lines = [json.dumps([bed.keys[row], [50.0, 50.0, 50 + sign * bed.naswot[row]]]) for row in bed.rows]
        (tmp_path / f"macro_all_sandwich_{seed}.jsonl").write_text("\n".join(lines))
    several = collect.Bed("macro", tmp_path)
    found = compare.agreements(several)
    assert found["all_sandwich_1"]["naswot"] > 0.9 > found["all_sandwich_0"]["naswot"] > 0
    assert found["all_sandwich_2"]["naswot"] < -0.9
    assert "rule, mean of 3 seeds" in collect.of_seeds(several, RULES)


def test_a_recipe_is_compared_with_what_it_changes(bed, tmp_path):
    rows = list(study.read_scores(tmp_path / "macro_all_sandwich_0.jsonl"))
    for arm in ("on_002", "split_002", "fair", "on_002-fair", "split_002-fair"):
        worse = 100 if arm == "fair" else 0  # a ranking upside down
        lines = [json.dumps([key, [*values[:2], abs(worse - values[2])]]) for key, values in rows]
        (tmp_path / f"macro_all_{arm}_0.jsonl").write_text("\n".join(lines))
    found = compare.of_recipes(collect.Bed("macro", tmp_path), RULES)
    assert {arm: each["rule"].get("over") for arm, each in found.items()} == {
        "all_sandwich_0": None,
        "all_on_002_0": "all_sandwich_0",
        "all_split_002_0": "all_on_002_0",
        "all_fair_0": "all_sandwich_0",
        "all_on_002-fair_0": "all_fair_0",
        "all_split_002-fair_0": "all_on_002-fair_0",
    }
    gains = {arm: each["rule"]["gain"]["whole"]["value"] for arm, each in found.items() if "gain" in each["rule"]}
    assert gains["all_on_002_0"] == gains["all_split_002_0"] == gains["all_split_002-fair_0"] == 0
    assert gains["all_fair_0"] < -0.5
    assert gains["all_on_002-fair_0"] > 0.5


def test_a_recipe_whose_scores_are_gone_is_not_compared_again(bed, tmp_path):
    fair = tmp_path / "macro_all_fair_0.jsonl"
    fair.write_text((tmp_path / "macro_all_sandwich_0.jsonl").read_text())
    collect.write_predictions(bed, collect.predictions_of(collect.Bed("macro", tmp_path), RULES))
    fair.unlink()
    again = collect.Bed("macro", tmp_path)
    assert list(again.kept) == ["all_fair_0"]
    assert list(compare.of_recipes(again, RULES)) == ["all_sandwich_0"]


def test_more_images_are_compared_on_the_same_networks_and_smoothed(bed, tmp_path):
    assert compare.by_images(bed) == {}
    scores = dict(study.read_scores(tmp_path / "macro_all_sandwich_0.jsonl"))
    noisy = [
        json.dumps([key, [*values[:2], values[2] + (number % 7)]])
        for number, (key, values) in enumerate(scores.items())
    ]
    (tmp_path / "macro_sandwich_0.jsonl").write_text("\n".join(noisy))
    found = compare.by_images(collect.Bed("macro", tmp_path))
    assert found["likelihood"]["same"]["whole"]["low"] > 0
    assert found["prob"]["same"]["whole"]["value"] == 0
    by_number = found["likelihood"]["smoothed"]
    assert by_number["few on all"]["whole"] > 0.9
    assert by_number["few on all"]["whole"] > by_number["few on 1,000"]["whole"]


def test_every_key_has_a_row_of_predictions(bed, tmp_path):
    columns = collect.predictions_of(bed, RULES)
    collect.write_predictions(bed, columns)
    with (tmp_path / "predictions" / "macro.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == bed.keys
    assert list(rows[0]) == ["key", "scores_0", "rule_0", "rule_30", "all_sandwich_0"]
    assert np.isfinite([float(value) for row in rows for name, value in row.items() if name != "key"]).all()
    assert len({(network, *list(row.values())[1:]) for network, row in zip(bed.same, rows, strict=True)}) == 3_969


def test_an_arm_whose_scores_are_gone_keeps_its_column(bed, tmp_path):
    scores = tmp_path / "macro_all_sandwich_0.jsonl"
    (tmp_path / "macro_other_0.jsonl").write_text(scores.read_text())
    collect.write_predictions(bed, collect.predictions_of(collect.Bed("macro", tmp_path), RULES))
    before = collect.read_predictions("macro")
    (tmp_path / "macro_other_0.jsonl").unlink()
    again = collect.Bed("macro", tmp_path)
    assert list(again.kept) == ["other_0"]
    collect.write_predictions(again, collect.predictions_of(again, RULES))
    after = collect.read_predictions("macro")
    np.testing.assert_array_equal(after["other_0"], before["other_0"])
