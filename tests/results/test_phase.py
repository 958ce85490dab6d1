"""Phases and their names."""

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.results.run import Phase

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
