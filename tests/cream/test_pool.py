"""Files of paths: what is drawn, and what is refused."""

import json

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.flops import Budget
from fewshot_nas.cream.pool import PathEntry, draw_pool, read_paths, write_paths

BUDGET = Budget((1, 1, 1, 1, 1), 32, 1, 3)
CODE = "[[0],[3],[1],[2],[0],[4],[0]]"


def test_paths_are_distinct_within_the_bounds_and_the_same_again():
    pool = draw_pool(BUDGET, 50, 0)
    assert list(pool) == [f"arch{number}" for number in range(1, 51)]
    assert len(set(pool.values())) == 50
    assert all(1 <= BUDGET.mflops(path) <= 3 for path in pool.values())
    assert draw_pool(BUDGET, 20, 0) == dict(list(pool.items())[:20])
    assert draw_pool(BUDGET, 20, 1) != draw_pool(BUDGET, 20, 0)


def test_more_paths_than_there_are_is_refused():
    cost = BUDGET.mflops(((3,),) * 5)
    few = Budget(BUDGET.depths, 32, cost, cost)
    with pytest.raises(InputError, match=r"999 paths are asked for, but only \d+ were found within the FLOPs bounds"):
        draw_pool(few, 999, 0)


def test_entries_are_read_back(tmp_path):
    entries = {name: PathEntry(2.5, path) for name, path in draw_pool(BUDGET, 3, 0).items()}
    write_paths(tmp_path / "pool.json", entries)
    assert read_paths(tmp_path / "pool.json") == entries


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected an object"),
        ([], "expected an object"),
        ({"arch1": CODE}, "arch1: expected an object with the keys 'acc' and 'arch', got"),
        ({"arch1": {"acc": 101, "arch": CODE}}, "arch1: acc is 101, expected a percentage"),
        ({"arch1": {"acc": 1, "arch": "[[0],[9],[0]]"}}, "arch1: INPUT_ARCH is"),
        ({"arch1": {"acc": 1, "arch": 7}}, "arch1: "),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    (tmp_path / "pool.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"pool.json: {message}"):
        read_paths(tmp_path / "pool.json")
