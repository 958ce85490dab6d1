"""The ranker's table, read and shown."""

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import write_json
from fewshot_nas.reporting.ranked import best_under, macs_bounds, macs_front, read_ranked
from fewshot_nas.reporting.sections import sections
from fewshot_nas.results.scores import Scored
from fewshot_nas.space.cost import Cost

INTERVAL = {"value": 0.7, "low": 0.6, "high": 0.8, "error": 0.05}
CONTENT = {
    "scores": ["results/<run>/json_results/epoch0"],
    "archs": 45000,
    "scored": 2000,
    "truths": 200,
    "predicted": "accuracy alone",
    "best_proxy": "params",
    "rows": [
        {"name": name, "truths": 30, "archs": 170, "tau": INTERVAL, "gain": INTERVAL} for name in ("raw", "predictor")
    ],
    "judged": {
        "predicted": {
            "raw": {
                "whole": {"tau": INTERVAL, "worth": [24.2, 10.0, None]},
                "equal_cost": {"tau": {"value": 0.4, "low": 0.3, "high": 0.5, "error": 0.05}},
                "regret": {"first": [1.0, 2.0], "ten": [0.2, 0.3]},
            }
        },
        "counts": {},
    },
}


def section_of(study):
    return next(text for text in sections(study) if "<h2>The ranker</h2>" in text)


def test_a_run_without_it_says_how_to_get_it(study, tmp_path):
    assert read_ranked(tmp_path / "ranking.json", "a command") is None
    assert "python -m fewshot_nas.rank --save=demo" in section_of(study)


def test_the_table_is_shown_with_its_intervals(study, tmp_path):
    write_json(tmp_path / "ranking.json", CONTENT)
    text = section_of(dataclasses.replace(study, ranked=read_ranked(tmp_path / "ranking.json", "a command")))
    assert "<td>predictor, 30 truths</td>" in text
    assert "0.700 [0.600, 0.800]" in text
    assert "gain over params" in text
    assert "tau at equal cost" in text
    assert "<td>24 [10, more]</td>" in text
    assert "<td>0.25</td>" in text
    assert text.count("0.400 [0.300, 0.500]") == 1
    assert "45,000 archs, 2,000 of them scored" in text
    assert "&lt;run&gt;" in text


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {**CONTENT, "archs": "many"},
        {**CONTENT, "rows": 7},
        {**CONTENT, "judged": 7},
        {**CONTENT, "judged": {"predicted": {"raw": {}}, "counts": {}}},
    ],
)
def test_another_file_is_refused(tmp_path, content):
    write_json(tmp_path / "ranking.json", content)
    with pytest.raises(InputError, match=r"ranking\.json: is not the ranker's table; `a command` makes it anew"):
        read_ranked(tmp_path / "ranking.json", "a command")


# ---- Bounds on MACs, the best archs within them, and the upper edge of all ------------------------------------------


def table(points):
    """Scores and costs of archs a, b, c, ... with the given MACs and accuracies."""
    names = [chr(ord("a") + number) for number in range(len(points))]
    scores = {name: Scored(acc, "code") for name, (_, acc) in zip(names, points, strict=True)}
    return scores, {name: Cost(macs, 7) for name, (macs, _) in zip(names, points, strict=True)}


@pytest.mark.parametrize(
    ("macs", "bounds"),
    [
        (range(1, 101), [10, 25, 50, 75, 100]),
        ([2_105_099_904, 3_912_912_960], [2_200_000_000, 4_000_000_000]),
        ([5], [5]),
    ],
)
def test_bounds_are_round_numbers(macs, bounds):
    assert macs_bounds(macs) == bounds


@given(st.lists(st.integers(1, 10**10), min_size=1))
def test_the_last_bound_holds_for_all(macs):
    bounds = macs_bounds(macs)
    assert bounds == sorted(set(bounds))
    assert max(macs) <= bounds[-1] < 1.1 * max(macs) + 1


def test_the_best_within_each_bound_come_first():
    found = best_under([10, 20], *table([(5, 50), (10, 60), (11, 70), (20, 55), (21, 99)]), count=2)
    assert [(choice.bound, choice.arch_id, choice.score) for choice in found] == [
        (10, "b", 60),
        (10, "a", 50),
        (20, "c", 70),
        (20, "b", 60),
    ]


def test_of_equal_scores_the_cheaper_is_better():
    assert [choice.arch_id for choice in best_under([9], *table([(8, 50), (5, 50)]))] == ["b", "a"]


def test_no_arch_within_the_bound_is_no_choice():
    assert best_under([4], *table([(5, 50)])) == []


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=20))
def test_the_front_is_what_no_cheaper_arch_beats(points):
    scores, costs = table(points)
    edge = macs_front(scores, costs)
    assert edge == sorted(edge, key=lambda name: costs[name].macs)
    for name in scores:
        best = max(scores[each].acc for each in edge if costs[each].macs <= costs[name].macs)
        assert best >= scores[name].acc
    assert all(scores[low].acc < scores[high].acc for low, high in pairwise(edge))
