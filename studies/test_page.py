"""The page on the study has the tables that its script makes from what is committed."""

import pytest

from fewshot_nas.cli.errors import InputError
from studies import page as study

SLOW = ("scores", "ranker")
TABLES = (
    "truths",
    "arms",
    "budget",
    "public-surfaces",
    "public-images",
    "public-resnets",
    "public-mobilenets",
    "public-macro",
    "public-arms",
    "public-pairs",
    "public-slopes",
    "headline",
    "untrained",
    "untrained-agreement",
    "public-agreement",
    "public-ranker",
    "public-recipes",
    "older-recipes",
    "public-seeds",
    "kinds-digits",
    "mnist-truths",
    "mnist-rankings",
    "mnist-gains",
)


@pytest.fixture(scope="module")
def page():
    return "".join(path.read_text(encoding="utf-8") for path in study.PAGES)


@pytest.mark.parametrize("name", [*TABLES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_page_has_the_table_of_the_committed_results(page, name):
    assert study.filled(page, {name: list(study.TABLES[name]())}) == page


def test_all_tables_are_checked(page):
    assert set(study.TABLES) == {*TABLES, *SLOW}
    assert page.count("<!-- end -->") == len(study.TABLES)


def test_a_table_takes_the_place_of_the_older_one():
    page = "before\n<!-- one -->\nold\n<!-- end -->\nafter <!-- end -->"
    expected = "before\n<!-- one -->\n| new |\n<!-- end -->\nafter <!-- end -->"
    assert study.filled(page, {"one": ["| new |"]}) == expected
    assert study.filled(expected, {"one": ["| new |"]}) == expected
    with pytest.raises(InputError, match="has no <!-- two -->"):
        study.filled(page, {"two": []})


def test_gains_are_over_the_mean_probability_of_the_same_nets(monkeypatch):
    truth = {f"arch{number}": float(number) for number in range(12)}
    backwards = {arch_id: -value for arch_id, value in truth.items()}
    monkeypatch.setattr(study.ranker_run, "truth_of", lambda bed: truth)
    nets = [{"prob": backwards, "log": truth}, {"prob": truth, "log": truth}]
    assert study._gain(nets, "prob", "bed") == "0.00"
    assert study._gain(nets, "log", "bed").startswith("1.00 (+1.00 ")
    assert study._gain([*nets, {"prob": truth}], "log", "bed") == ""


def test_of_a_longer_table_some_columns_and_rows_are_shown():
    lines = ["| what | tau | other |", "|---|---|---|", "| a |  | 1 |", "| b | 2 | 3 |"]
    assert list(study.some(lambda: lines, ("what", "tau"))()) == [
        "| what | tau |",
        "|---|---|",
        "| a |  |",
        "| b | 2 |",
    ]
    assert list(study.some(lambda: lines, shown=study.named(["b"]))())[2:] == ["| b | 2 | 3 |"]
