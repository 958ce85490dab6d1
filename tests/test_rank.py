"""The rank command, from merged scores and truths to predictions for every arch."""

import csv
import dataclasses
import re

import numpy as np
import pytest

from fewshot_nas import report
from fewshot_nas.cli.errors import InputError
from fewshot_nas.rank import main
from fewshot_nas.ranking import comparison
from fewshot_nas.ranking.correlation import correlations
from fewshot_nas.ranking.features import features, standardised
from fewshot_nas.ranking.ranker import percent
from fewshot_nas.records.files import read_json, sha256
from fewshot_nas.results.directories import merged_path
from fewshot_nas.results.evaluations import read_untrained
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.run import Phase, phase_directory, run_directory, run_files
from fewshot_nas.results.scores import LEADING, Network, Scored, read_scores
from fewshot_nas.searching.valuation import valuation_by_supernet
from fewshot_nas.space.pool import Entry, make_pool, part_path, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

POOL = make_pool(PX8, seed=0, size=200)
COLUMNS = standardised(features(SPACES["px8"], POOL.values(), num_classes=10))
NOISE = np.random.default_rng(0).normal(size=(2, 200))
QUALITY = COLUMNS[:, :4].sum(1) + COLUMNS[:, -2]
TRUTH = percent(0.3 * QUALITY + 0.05 * NOISE[0])
SCORES = percent(0.3 * (QUALITY - 2 * COLUMNS[:, -2]) + 0.05 * NOISE[1])


def write_scores(directory, scored=120, **facts):
    scores = {i: Scored(float(v), PX8.encode(POOL[i])) for i, v in list(zip(POOL, SCORES, strict=True))[:scored]}
    write_merged(directory, LEADING, scores, {"num_classes": 10, **facts})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A pool of two parts, merged scores of 120 archs, a truth of 60 and no settings but the defaults."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparison, "DRAWS", 4)  # the validation of the predictors is tests/ranking's matter
    for number, part in enumerate(split_pool(POOL, 2), start=1):
        path = part_path(tmp_path / "json_file" / "json8", number)
        write_arch_file(path, PX8, {arch_id: Entry(0.0, arch) for arch_id, arch in part.items()})
    write_scores(phase_directory("run", Phase.parse("1")).scores("3"))
    write_truth(60)
    return "--save=run"


def write_truth(archs):
    entries = {i: Entry(round(float(v), 4), POOL[i]) for i, v in zip(POOL, TRUTH, strict=True)}
    write_arch_file(run_directory("run") / "truth.json", PX8, dict(list(entries.items())[:archs]))


WITH_TRUTH = "run.ground_truth=results/run/truth.json"


def tau(values, archs):
    ids = list(POOL)
    return correlations(np.array([values[ids[i]].acc for i in archs]), TRUTH[list(archs)])[0]


def test_truths_make_predictions_for_archs_that_nobody_scored(run, capsys):
    assert main([run, WITH_TRUTH]) == 0
    files = run_files("run")
    predicted, errors = read_scores(files.prediction, PX8), read_scores(files.prediction_error, PX8)
    assert list(predicted) == list(errors) == list(POOL)
    assert {i: scored.code for i, scored in predicted.items()} == {i: PX8.encode(arch) for i, arch in POOL.items()}
    assert tau(predicted, range(120, 200)) > 0.7
    assert all(0 < scored.acc < 20 for scored in errors.values())
    printed = capsys.readouterr().out
    assert "200 archs, 120 of them scored by likelihood" in printed
    assert re.search("predictor, 30 truths +60 ", printed)
    assert "width of stage 4, hindsight" in printed


def test_without_truth_the_combined_scores_are_the_predictions(run, capsys):
    assert main([run, "run.ground_truth=nowhere.json"]) == 0
    content = read_json(run_files("run").ranking)
    assert (content["predicted"], content["rows"], content["truths"], content["truth"]) == ("score", [], 0, None)
    assert "no truth to judge by" in capsys.readouterr().out
    write_truth(2)
    assert main([run, WITH_TRUTH]) == 0
    assert "(run.ground_truth; 2 of truth.json are too few)" in capsys.readouterr().out


def test_a_truth_too_small_for_a_predictor_only_measures(run):
    write_truth(8)
    assert main([run, WITH_TRUTH]) == 0
    content = read_json(run_files("run").ranking)
    assert content["predicted"] == "score"
    assert {row["name"] for row in content["rows"]} >= {"raw", "smoothed", "combined", "depth + params"}


def test_tau_at_equal_cost_stands_beside_the_table(run, capsys):
    assert main([run, WITH_TRUTH]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^at equal cost.*\n(.*\n)*?combined +[+-]0\.\d+ \[", said, re.MULTILINE)
    assert "worth, in trained networks" in said
    judged = read_json(run_files("run").ranking)["judged"]
    assert set(judged["predicted"]) == {"raw", "combined"}
    found = {
        name: each["equal_cost"]["tau"]["value"]
        for kind in ("predicted", "counts")
        for name, each in judged[kind].items()
    }
    assert {"macs", "params"} <= found.keys()
    assert found["combined"] > found["macs"]


def test_a_ranking_that_lacks_some_truths_is_not_judged_beside_those_that_have_all(run):
    write_scores(phase_directory("run", Phase.parse("1")).scores("3"), scored=40)
    assert main([run, WITH_TRUTH]) == 0
    judged = read_json(run_files("run").ranking)["judged"]
    assert set(judged["predicted"]) == {"combined"}
    assert judged["networks"] == 60


def test_the_table_is_kept_with_what_it_was_made_of(run):
    assert main([run, WITH_TRUTH, "--suggest=3"]) == 0
    content = read_json(run_files("run").ranking)
    assert content["scores"] == ["json_results/epoch3"]
    assert (content["archs"], content["scored"], content["truths"], content["metric"]) == (200, 120, 60, LEADING)
    best = next(row for row in content["rows"] if row["name"] == content["best_proxy"])
    assert best["gain"]["value"] == 0
    assert [row["truths"] for row in content["rows"] if row["name"] == "predictor"] == [10, 30]
    known = set(list(POOL)[:60])
    assert len(set(content["suggested"]) - known) == 3


def test_untrained_networks_are_scored_once_and_count(run, capsys, monkeypatch):
    assert main([run, WITH_TRUTH]) == 0
    without = read_scores(run_files("run").prediction, PX8)
    assert main([run, WITH_TRUTH, "--untrained=40"]) == 0
    known = read_untrained(run_files("run").untrained)
    assert len(known) == read_json(run_files("run").ranking)["untrained"] == 40
    assert known.keys() <= {PX8.encode(arch) for arch in POOL.values()}
    assert {row["name"] for row in read_json(run_files("run").ranking)["rows"]} >= {"untrained networks"}
    assert "untrained networks" in (said := capsys.readouterr().out)
    agreement = read_json(run_files("run").ranking)["agreement"]
    assert f"scores and untrained networks agree by a tau of {agreement:.3f}" in said
    assert 0 < abs(agreement) < 1
    assert read_scores(run_files("run").prediction, PX8) != without
    assert main([run, WITH_TRUTH, "--untrained=50"]) == 0
    more = read_untrained(run_files("run").untrained)
    assert len(more) == 50
    assert known.items() <= more.items()
    monkeypatch.delattr("fewshot_nas.scoring.scorer.naswot")  # nothing is left to compute
    assert main([run, WITH_TRUTH, "--untrained=50"]) == 0
    assert main([run, WITH_TRUTH]) == 0
    assert read_json(run_files("run").ranking)["untrained"] == 0
    assert read_json(run_files("run").ranking)["agreement"] is None
    assert read_scores(run_files("run").prediction, PX8) == without


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--untrained=10"], "--untrained is 10, expected 20 to the 200 archs of the pool"),
        (["--untrained=201"], "--untrained is 201, expected 20 to the 200"),
        (["--untrained=20", "run.seed=1"], r"untrained\.jsonl: was written with seed 0 \(now 1\); delete it"),
    ],
)
def test_untrained_networks_that_cannot_be_scored_are_refused(run, arguments, message):
    assert main([run, WITH_TRUTH, "--untrained=20"]) == 0
    with pytest.raises(InputError, match=message):
        main([run, WITH_TRUTH, *arguments])


@pytest.mark.parametrize("equal", [False, True])
def test_a_space_of_widths_only_and_equal_truths_have_undefined_taus(tmp_path, monkeypatch, capsys, equal):
    """Depth is constant, and so no proxy to be the best."""
    monkeypatch.chdir(tmp_path)
    space = dataclasses.replace(PX8, name="px8 changed", depths=((2, 2),) * 4)
    pool = make_pool(space, seed=0, size=40)
    write_arch_file(part_path(tmp_path / "pool", 1), space, {key: Entry(0.0, arch) for key, arch in pool.items()})
    scores = {key: Scored(50.0 + number, space.encode(arch)) for number, (key, arch) in enumerate(pool.items())}
    facts = {"space": space.values(), "num_classes": 10}
    write_merged(phase_directory("run", Phase.parse("1")).scores("3"), LEADING, scores, facts)
    truth = {key: Entry(70.0 if equal else 50.0 + number, pool[key]) for number, key in enumerate(pool)}
    write_arch_file(tmp_path / "truth.json", space, truth)
    settings = ["run.pool=pool", "run.ground_truth=truth.json", "space.depths=[[2,2],[2,2],[2,2],[2,2]]"]
    assert main(["--save=run", *settings]) == report.main(["--save=run", *settings]) == 0
    printed, content = capsys.readouterr().out, read_json(run_files("run").ranking)
    assert content["predicted"] == ("score" if equal else "accuracy alone")
    assert content["best_proxy"] in ([None] if equal else ["params", "macs"])
    assert re.search("depth +40 +undefined +undefined", printed)
    page = run_files("run").report.read_text()
    assert "undefined" in page
    assert not re.search(r"\bnan\b", printed + page.split("<script")[0])


def test_suggestions_come_with_the_command_that_trains_them(run, capsys):
    assert main([run, WITH_TRUTH, "--suggest=2"]) == 0
    numbers = [arch_id.removeprefix("arch") for arch_id in read_json(run_files("run").ranking)["suggested"]]
    assert f"train_stand_alone --save=run --target_arch_num={','.join(numbers)}" in capsys.readouterr().out


def test_the_last_phase_s_largest_evaluation_is_the_default(run):
    late = phase_directory("run", Phase.parse("2"))
    write_scores(late.scores("1"), 50)
    write_scores(late.scores("0"), 80)
    assert main([run, WITH_TRUTH]) == 0
    assert read_json(run_files("run").ranking)["scores"] == ["2/json_results/epoch0"]


def test_no_two_commands_go_by_different_evaluations(run, monkeypatch):
    """The evaluation on test images is larger and later, that of an older supernet too."""
    phase = phase_directory("run", Phase.parse("1"))
    phase.chosen.write_bytes(b"present")
    present = sha256(phase.chosen)
    write_scores(phase.scores("3"), 100, checkpoint_sha256=present)
    write_scores(phase.scores("3_all_test"), 150, checkpoint_sha256=present, split="test")
    write_scores(phase.scores("9"), 180, checkpoint_sha256="of an older one")
    assert main([run, WITH_TRUTH]) == report.main([run, WITH_TRUTH]) == 0
    assert read_json(run_files("run").ranking)["scores"] == ["json_results/epoch3"]
    assert "evaluation 3<" in run_files("run").report.read_text()
    assert len(valuation_by_supernet(phase, present, LEADING, Network(PX8, 8, 10)).pool({})) == 100


def test_what_was_merged_decides_the_measure(run):
    phase_directory("run", Phase.parse("1")).scores("3").joinpath(f"{LEADING}_json_final.json").rename("gone.json")
    scores = {i: Scored(float(v), PX8.encode(POOL[i])) for i, v in zip(POOL, SCORES, strict=True)}
    write_merged(phase_directory("run", Phase.parse("1")).scores("4"), "top1", scores, {"num_classes": 10})
    assert main([run, WITH_TRUTH]) == 0
    assert read_json(run_files("run").ranking)["metric"] == "top1"


def test_several_supernets_count_together(run):
    other = phase_directory("other", Phase.parse("1")).scores("0")
    write_scores(other, 50)
    first = phase_directory("run", Phase.parse("1")).scores("3")
    assert main([run, WITH_TRUTH, "--scores", str(first), str(other)]) == 0
    content = read_json(run_files("run").ranking)
    assert content["scores"] == ["json_results/epoch3", str(other)]
    assert content["scored"] == 50


def test_without_merged_scores_the_next_command_is_said(run, calls_of_hints):
    with pytest.raises(InputError, match="results/other: no phase has merged scores; begin with") as none:
        main(["--save=other"])
    assert calls_of_hints(str(none.value)) == [["test", "--save=other"]]
    with pytest.raises(InputError, match="results/run: no phase has merged scores by top1") as unmerged:
        main([run, "--top=1"])
    assert calls_of_hints(str(unmerged.value)) == [["merge", "--save=run", "--phase=1", "--epoch=3"]]


def test_the_best_stand_first_and_within_each_class_of_cost(run, capsys):
    assert main([run, WITH_TRUTH]) == 0
    with run_files("run").prediction_table.open() as stream:
        rows = list(csv.DictReader(stream))
    predicted = [float(row["predicted_top1_percent"]) for row in rows]
    assert predicted == sorted(predicted, reverse=True)
    for best in read_json(run_files("run").ranking)["best"]:
        assert next(row["id"] for row in rows if int(row["macs"]) <= best["macs_up_to"]) == best["id"]
    printed = capsys.readouterr().out
    assert "the best by predicted top-1 alone within multiply-adds" in printed
    assert re.search(rf"up to .*: {rows[0]['id']} {rows[0]['code']}, {predicted[0]:.2f} ± ", printed)
    assert main([run, "run.ground_truth=none.json"]) == 0
    assert "the best by predicted likelihood" in capsys.readouterr().out


def test_settings_may_stand_behind_directories(run):
    first = str(phase_directory("run", Phase.parse("1")).scores("3"))
    assert main(["--save", "run", "--scores", first, WITH_TRUTH]) == 0
    assert read_json(run_files("run").ranking)["truths"] == 60


def test_a_phase_can_be_named(run):
    write_scores(phase_directory("run", Phase.parse("2")).scores("0"), 50)
    assert main([run, WITH_TRUTH, "--phase=1"]) == 0
    assert read_json(run_files("run").ranking)["scores"] == ["json_results/epoch3"]


def test_mistakes_are_told_in_a_sentence(run):
    for number in (-1, 99_999_999_999):
        with pytest.raises(InputError, match=f"--suggest is {number}, expected 0 to 1,000"):
            main([run, f"--suggest={number}"])
    with pytest.raises(InputError, match=r"nowhere/likelihood_json_final\.json: no such file"):
        main([run, "--scores", "nowhere"])
    merged_path(phase_directory("run", Phase.parse("1")).scores("3"), LEADING).write_text("{}")
    with pytest.raises(InputError, match="expected an object"):
        main([run])
