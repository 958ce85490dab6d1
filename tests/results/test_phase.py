"""Phases and their names."""

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.run import Phase, phase_of

NAMES = ["1", "search", "2", "7", "3_from_2", "7_from_6", "7_from_2"]
NAMES += ["choice0out", "2-choice0out_from_2", "ownmine", "ownmine-3_from_ownmine"]


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
        "search_from_2",
        "depth34x2",
        "own",
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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("2", {"phase": "2"}),
        ("3_from_2", {"phase": "3_from_2"}),
        ("choice0out", {"split_by": "choice", "slots": "SLOTS"}),
        ("on", {"split_by": "none"}),
        ("ownmine", {"split_by": "MODULE:mine"}),
    ],
)
def test_options_train_a_phase_and_train_few_shot_takes_them(name, options):
    from fewshot_nas.running.phases import _check_options, _read_phase
    from fewshot_nas.train_few_shot import _parser

    assert Phase.parse(name).training_options == options
    asked = _parser().parse_args([f"--{key}={value.replace('MODULE', 'math')}" for key, value in options.items()])
    _read_phase(asked)
    if "MODULE" not in str(options):
        _check_options(asked)


def test_a_phase_that_no_run_can_have_is_refused_with_those_that_the_run_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/a/choice0out").mkdir(parents=True)
    with pytest.raises(InputError, match=r"'deep' is not a phase, .*; results/a has 1, choice0out"):
        phase_of("a", "deep")
