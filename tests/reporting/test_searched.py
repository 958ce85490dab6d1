"""Searches on the page: who stands against whom, and what is said."""

import dataclasses
import re

import pytest

from fewshot_nas.reporting.page import figures, render
from fewshot_nas.reporting.searched import search_figure, search_sections, shown_searches
from fewshot_nas.results.found import Found, FoundArch

BOUNDS = {
    "bounds": ["macs <= 5 M"],
    "by": "supernet",
    "measure": "mean probability",
    "metric": "prob",
    "checkpoint_sha256": "ab",
}


def arch(code, score, macs):
    return FoundArch(code, score, {"macs": macs, "params": 2 * macs, "latency": macs / 1e4})


@pytest.fixture
def searches():
    archs = [arch("a", 90.0, 4e6), arch("b", 85.0, 3e6), arch("c", 80.0, 4.5e6)]
    manifest = {**BOUNDS, "method": "evolution"}
    drawn = Found({**BOUNDS, "method": "random"}, [arch("r", 87.0, 4e6)], ["macs"])
    return {
        "mine": Found(manifest, archs, ["macs"], [arch("p", 84.0, 2e6)]),
        "mine_random": drawn,
        "other_random": dataclasses.replace(drawn, manifest={**drawn.manifest, "bounds": []}),
    }


def test_random_search_stands_against_the_search_under_the_same_conditions(searches):
    shown = shown_searches(searches)
    assert list(shown) == ["mine", "other_random"]
    assert shown["mine"] == (searches["mine"], searches["mine_random"])
    assert shown["other_random"][1] is None


def test_the_best_of_search_pool_and_chance_are_told(searches):
    page = "".join(search_sections(searches, "command"))
    assert "3 archs within macs &lt;= 5 M, judged by mean probability. The best has 90.00 %" in page
    assert "the best of the pool&#x27;s scored archs within the same bounds 84.00 %" in page
    assert "the best of 1 random ones 87.00 %" in page


def test_the_front_is_a_table(searches):
    page = "".join(search_sections({"mine": searches["mine"]}, "command"))
    assert re.findall(r"<td.*?>([\d.]+)</td>", page)[0] == "90.00"
    assert [f"<code>{each}</code>" in page for each in "abc"] == [True, True, False]


def test_a_long_front_is_shown_in_part(searches):
    archs = [arch(f"code{place}", 50.0 + place, 1e6 * (1 + place)) for place in range(30)][::-1]
    page = "".join(search_sections({"mine": dataclasses.replace(searches["mine"], archs=archs)}, "command"))
    assert "The best 12 of 30; all are in the search&#x27;s front.csv" in page
    assert "code29" in page
    assert "code17" not in page


def test_hovering_gives_the_code_and_the_costs(searches):
    figure = search_figure(searches["mine"], searches["mine_random"])
    names = [trace["name"] for trace in figure["data"]]
    assert names == ["scored archs", "front of search", "front of pool", "front of random search"]
    assert figure["data"][0]["text"][0] == "a<br>4.000 M MACs, 8.000 M parameters, 400 us latency"
    assert figure["data"][1]["x"] == [3.0, 4.0]  # from the cheapest on, so that a line can be drawn
    assert figure["layout"]["xaxis"]["title"]["text"] == "MACs, M"


def test_a_front_over_latency_has_its_unit(searches):
    by_latency = dataclasses.replace(searches["mine"], measures=["latency"])
    assert search_figure(by_latency, None)["layout"]["xaxis"]["title"]["text"] == "latency, us"


def test_without_a_search_the_page_says_which_command_searches():
    assert "command" in "".join(search_sections({}, "command"))


def test_the_page_has_a_figure_for_each_search_shown(study, searches):
    page = render(dataclasses.replace(study, searches=searches))
    assert 'data-figure="search mine"' in page
    assert "search mine_random" not in dict(figures(dataclasses.replace(study, searches=searches)))


def test_a_search_that_has_found_nothing_is_told(study):
    nothing = Found({**BOUNDS, "method": "evolution"}, [], ["macs"])
    assert "It has found nothing." in render(dataclasses.replace(study, searches={"none": nothing}))
