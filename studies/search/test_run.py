"""The study of searching: its plan's parts, its numbers, and the page that shows them."""

import pytest

from studies.common import ROOT
from studies.search import run as study


@pytest.mark.slow
@pytest.mark.golden
def test_the_page_shows_what_the_script_prints():
    page = (ROOT / "docs" / "search.md").read_text()
    assert study.table("fashion_pairs") in page
    gains = [line.split(" | ")[1:] for line in study.table("digits").splitlines() if line.startswith("| searched")]
    assert gains
    assert all("[-" in gain for row in gains for gain in row), "on the digits no difference is more than chance"


@pytest.mark.slow
def test_a_difference_is_a_mean_over_cells_with_an_interval_around_it():
    cells = [{"one": [60.0 + place, 62.0 + place], "two": [59.0, 61.0]} for place in range(4)]
    value, low, high = study.difference(cells, "one", "two")
    assert value == pytest.approx(2.5)
    assert low < value < high
    same = study.difference(cells, "two", "two")
    assert same[0] == 0
    assert same[1] < 0 < same[2]


def test_a_cell_needs_every_arm_trained_with_the_same_seeds():
    arms = {"one": {"test": {"0": 1.0, "1": 2.0}}, "two": {"test": {"1": 3.0}}}
    assert study.cells({"supernets": {"0": {"bound": arms}}}) == [{"one": [2.0], "two": [3.0]}]
    assert study.cells({"supernets": {"0": {"bound": {**arms, "two": {"test": {}}}}}}) == []
