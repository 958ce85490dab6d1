"""Names under `results/`."""

import re
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas.errors import InputError
from fewshot_nas.results import (
    ONE_SHOT,
    Phase,
    PhaseDirectory,
    evaluation_name,
    is_evaluation_name,
    known_phases,
    merged_path,
    parts_with_scores,
    phase_directory,
    phase_of,
    phases,
    run_directory,
    shard_path,
)

NAMES = ["1", "2", "7", "3_from_2", "7_from_6", "7_from_2"]
NAMES += ["depth34x2", "2-depth34x2_from_2", "table-mine", "depth34x2-3_from_depth34x2"]


@pytest.mark.parametrize("name", NAMES)
def test_a_phase_has_one_name(name):
    assert Phase.parse(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "0",
        "8",
        "2_from_1",
        "2_from_2",
        "2_from_3",
        "1_from_2",
        "two",
        "",
        "3_from_",
        "search",
        "depth34",
        "table-",
        "events",
    ],
)
def test_what_is_no_phase_is_refused(name):
    with pytest.raises(InputError):
        Phase.parse(name)


@pytest.mark.parametrize(("groups", "parent"), [(2, 2), (2, 3), (8, 7), (1, 1), (2, 0), (0, 0)])
def test_a_phase_has_more_groups_than_its_parent(groups, parent):
    with pytest.raises(InputError, match=f"a phase with {groups} groups cannot follow one with {parent}"):
        Phase(str(groups), str(parent or ""))


def test_the_one_shot_phase_lies_at_the_top():
    assert phase_directory("a", ONE_SHOT).path == Path("results/a")
    assert phase_directory("a", Phase("3", "2")).path == Path("results/a/3_from_2")


@pytest.mark.parametrize("save", ["a", "./a", "results/a", "./results/a", "a/"])
def test_ways_to_name_a_run(save):
    assert run_directory(save) == Path("results/a")


@pytest.mark.parametrize("save", ["", ".", "..", "a/../..", "/tmp/a", "results"])
def test_a_run_lies_under_results(save):
    with pytest.raises(InputError, match="expected the name of a directory under results/"):
        run_directory(save)


@pytest.mark.parametrize("tau", [0.5, -0.25, 1.0, -1.0, float("nan"), 1e-9, -1e-9])
def test_candidates_are_found_by_their_names(tmp_path, tau):
    directory = PhaseDirectory(tmp_path)
    directory.candidate(tau, 12).touch()
    for other in (directory.last, directory.chosen, tmp_path / "mine_0.pth"):
        other.touch()
    assert directory.candidates() == [directory.candidate(tau, 12)]


def test_finished_phases_are_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("3_from_2", "2", "3", ""):
        (tmp_path / "results" / "a" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / "a" / name / "supernet.pth").touch()
    (tmp_path / "results" / "a" / "4_from_3").mkdir()
    assert [phase.name for phase in phases("a")] == ["1", "2", "3", "3_from_2"]
    assert [phase.name for phase in known_phases("a")] == ["1", "2", "3", "3_from_2", "4_from_3"]


def test_phases_of_other_splits_come_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("depth34x2", "2", "search", "events", "stand_alone", "2-depth3x2_from_2"):
        (tmp_path / "results" / "a" / name).mkdir(parents=True)
    assert [phase.name for phase in known_phases("a")] == ["1", "2", "2-depth3x2_from_2", "depth34x2"]
    assert phase_of("a", "2-depth3x2").name == "2-depth3x2_from_2"


def test_a_number_of_groups_names_the_phase_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "a" / "3_from_2").mkdir(parents=True)
    assert phase_of("a", "3").name == "3_from_2"
    (tmp_path / "results" / "a" / "3").mkdir()
    with pytest.raises(InputError, match="has the phases 3 and 3_from_2; give the name of one"):
        phase_of("a", "3")
    assert phase_of("a", "3_from_2").name == "3_from_2"


def test_a_directory_that_is_no_phase_does_not_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2", "2_from_3", "1", "2_from_1", "notes"):
        (tmp_path / "results" / "a" / name).mkdir(parents=True)
    assert [phase.name for phase in known_phases("a")] == ["1", "2"]


def test_evaluations_are_found_by_their_epochs(tmp_path):
    directory = PhaseDirectory(tmp_path)
    for epoch in ("17_all_test", "4"):
        directory.scores(epoch).mkdir(parents=True)
    (directory.all_scores / "epoch5").touch()
    assert directory.evaluations() == {"17_all_test": directory.scores("17_all_test"), "4": directory.scores("4")}


def test_the_parts_of_one_metric_are_found(tmp_path):
    for path in (shard_path(tmp_path, "top1", 3), shard_path(tmp_path, "top5", 4), merged_path(tmp_path, "top1")):
        path.touch()
    assert parts_with_scores(tmp_path, "top1") == {3: shard_path(tmp_path, "top1", 3)}


@pytest.mark.parametrize("name", [r"json_results", r"_json\{", r"supernet\.pth\"", r"last\.pth\"", r"log\.jsonl\""])
def test_no_other_module_makes_names_under_results(name):
    """Code only: help texts and docstrings may tell where things lie."""
    package = Path(fewshot_nas.__file__).parent
    made = re.compile(rf'[/(=] *f?"[^" ]*{name}')
    sources = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    found = [
        name for name, text in sources.items() if made.search(re.sub(r"^ +(>>>|\.\.\.) .*$", "", text, flags=re.M))
    ]
    assert set(found) <= {"results.py"}


def test_names_of_evaluations_are_known_again():
    names = [evaluation_name(17, False), evaluation_name(17, True), evaluation_name(3, True, 2000)]
    assert names == ["17", "17_all_test", "3_all_test_sample2000"]
    assert all(map(is_evaluation_name, names))
    assert not any(map(is_evaluation_name, ("", "x", "17_sample", "17_sample20_all_test", "../17")))
