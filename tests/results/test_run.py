"""Where the phases of a run are."""

from pathlib import Path

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.run import ONE_SHOT, Phase, known_phases, phase_directory, phase_of, phases, run_directory


def test_the_one_shot_phase_lies_at_the_top():
    assert phase_directory("a", ONE_SHOT).path == Path("results/a")
    assert phase_directory("a", Phase("3", "2")).path == Path("results/a/3_from_2")


@pytest.mark.parametrize("save", ["a", "./a", "results/a", "./results/a", "a/"])
def test_ways_to_name_a_run(save):
    assert run_directory(save) == Path("results/a")


@pytest.mark.parametrize("save", ["", ".", "..", "a/../..", "/tmp/a", "results", " ", "a /b"])
def test_a_run_lies_under_results(save):
    with pytest.raises(InputError, match="expected the name of a directory under results/"):
        run_directory(save)


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
    for name in ("ownmine", "2", "search", "events", "stand_alone", "2-choice0out_from_2"):
        (tmp_path / "results" / "a" / name).mkdir(parents=True)
    assert [phase.name for phase in known_phases("a")] == ["1", "2", "2-choice0out_from_2", "ownmine"]
    assert phase_of("a", "2-choice0out").name == "2-choice0out_from_2"


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
