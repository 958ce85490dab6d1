"""The report command: which phases it finds, and where it writes."""

import dataclasses
import json
import re

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import Config, RunConfig, dump_config
from fewshot_nas.records.files import write_json, write_text
from fewshot_nas.report import main
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.run import Phase, phase_directory
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ARCHS = make_pool(PX8, seed=0, size=20)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The one-shot phase, scored; a few-shot phase in training; scores of a third, not merged; a ground truth."""
    monkeypatch.chdir(tmp_path)
    one, two, three = (phase_directory("study/run", Phase.parse(name)) for name in ("1", "2", "3_from_2"))
    write_arch_file(tmp_path / "truth.json", PX8, {key: Entry(60 + len(key), arch) for key, arch in ARCHS.items()})
    run_config = RunConfig(ground_truth=tmp_path / "truth.json")
    one.path.mkdir(parents=True)
    one.config.write_text(dump_config(dataclasses.replace(Config(), run=run_config)))
    measured = {"arch1": 50, "arch12": 60, "arch2": 55}
    write_text(two.log, json.dumps({"epoch": 0, "top1": measured, LEADING: measured}) + "\n")
    write_json(two.manifest, {"seed": 17})
    scores = {key: Scored(50 + number, PX8.encode(arch)) for number, (key, arch) in enumerate(ARCHS.items())}
    write_merged(one.scores("4_all_test"), "top1", scores, {"images": 360})
    three.scores("9_all_test").mkdir(parents=True)
    return tmp_path / "results" / "study" / "run"


def written(path):
    return path.read_text(encoding="utf-8")


def test_the_page_lies_in_the_runs_directory(run, capsys):
    assert main(["--save=study/run"]) == 0
    assert "<h1>study/run</h1>" in written(run / "report.html")
    assert re.fullmatch(
        r"run results/study/run\nreport: results/study/run/report\.html \(\d\.\d MB\)\n", capsys.readouterr().out
    )


def test_all_phases_that_left_anything_are_reported(run):
    main(["--save=./study/run"])
    page = written(run / "report.html")
    assert "evaluation 4_all_test on 360 images" in page
    assert "training, epoch 0" in page
    assert "merge --save=study/run --phase=3_from_2 --epoch=9_all_test" in page
    assert "4_from_3" not in page.split('<script type="application/json"')[0]


@pytest.mark.parametrize(("metric", "words"), [("likelihood", "likelihood"), ("prob", "mean probability")])
def test_a_run_without_merged_scores_is_shown_by_what_its_tau_is_of(run, metric, words):
    scores = {each: {"arch1": 96, "arch12": 98, "arch2": 97} for each in ("top1", "prob", "likelihood")}
    tau = dict.fromkeys(("value", "low", "high", "error"), 0.5)
    record = {"epoch": 0, **scores, "metric": metric, "tau": tau}
    write_text(phase_directory("study/run", Phase.parse("2")).log, json.dumps(record) + "\n")
    main(["--save=study/run", "--stage=2"])
    page = written(run / "report.html")
    assert f"Tau by {words} after each epoch" in page
    assert f"Phase 2 has no merged scores by {words}" in page


def test_one_phase_alone(run):
    main(["--save=study/run", "--stage=2", "--out=one.html", f"run.ground_truth={run.parents[2] / 'truth.json'}"])
    page = written(run.parents[2] / "one.html").split('<script type="application/json"')[0]
    assert "training, epoch 0" in page
    assert "evaluation 4_all_test" not in page
    assert not (run / "report.html").exists()


def test_the_ground_truth_is_the_settings(run):
    main(["--save=study/run", "run.ground_truth=none.json"])
    assert "There is no ground truth to compare with" in written(run / "report.html")


def test_the_page_says_what_archs_are_scored_by(run):
    scores = {key: Scored(90 - number, PX8.encode(arch)) for number, (key, arch) in enumerate(ARCHS.items())}
    write_merged(run / "json_results" / "epoch4_all_test", LEADING, scores, {"images": 360})
    main(["--save=study/run", "--top=1"])
    by_accuracy = written(run / "report.html")
    main(["--save=study/run"])
    by_likelihood = written(run / "report.html")
    assert "scores, here top-1, order" in by_accuracy
    assert "scores, here likelihood, order" in by_likelihood
    assert "supernet's likelihood, %" in by_likelihood
    assert "--epoch=9_all_test<" in by_likelihood
    assert "supernet's top-1, %" not in by_likelihood


def test_figures_go_where_they_are_wanted(run, capsys):
    pytest.importorskip("matplotlib")
    main(["--save=study/run", "--figures=figures"])
    names = {path.name for path in (run.parents[2] / "figures").iterdir()}
    assert {"ranking.svg", "ranking.png", "truth.svg", "cost_1.png"} <= names
    assert "figure: figures/ranking.svg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--save=other"], "results/other: no log or scores of a phase"),
        (
            ["--save=study/run", "--stage=5"],
            "results/study/run: no log or scores of phase 5; `.*train_few_shot --save=study/run --phase=5`",
        ),
        (["--save=study/run", "--stage=5_from_6"], "a phase with 5 groups cannot follow one with 6"),
        (["--save=../run"], "expected the name of a directory under results/"),
    ],
)
def test_what_is_not_there_cannot_be_reported(run, arguments, said):
    with pytest.raises(InputError, match=said):
        main(arguments)
