"""Searches on the page: who stands against whom, and what is said."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import write_json, write_text
from fewshot_nas.records.journal import append
from fewshot_nas.report import main
from fewshot_nas.reporting.log import read_path_search
from fewshot_nas.reporting.page import figures, render
from fewshot_nas.reporting.searched import board_figure, search_figure, search_sections, shown_searches
from fewshot_nas.results.found import Found, FoundArch
from fewshot_nas.results.run import retrain_directories, search_directory

BOUNDS = {
    "bounds": ["macs <= 5 M"],
    "by": "supernet",
    "measure": "likelihood",
    "metric": "likelihood",
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
    assert "3 archs within macs &lt;= 5 M, judged by likelihood. The best has 90.00 %" in page
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


# ---- A Cream search on the page: its board over time, and what became of its path -----------------------------------

PATHS = ["[[0],[3],[1],[2],[0],[4],[0]]", "[[0],[2],[1],[2],[0],[4],[0]]"]


def record(epoch, accuracies, top1=None):
    entries = [{"INPUT_ARCH": path, "held_prob": each} for path, each in zip(PATHS, accuracies, strict=False)]
    board = {"paths": len(entries), "measure": "held_prob", "entries": entries}
    return json.dumps({"epoch": epoch, "board": board, **({"top1": {"best": top1}} if top1 else {})}) + "\n"


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Two of three epochs have a board; a path was retrained and tested, another one only retrained."""
    monkeypatch.chdir(tmp_path)
    search = search_directory("way")
    write_text(search.log, "".join([record(0, []), record(1, [50.5, 40.25]), record(2, [70.0, 66.0], 81.5)]))
    write_json(search.chosen, {"INPUT_ARCH": PATHS[0], "macs": 1_234_000, "params": 567_000, "top1": 81.5})
    for name, top1 in (("arch", 97.25), ("43", 96.5)):
        for record_ in ({"epoch": 0, "top1": {"ema": 12.0}}, {"epoch": 1, "top1": {"ema": top1}}):
            append(tmp_path / "results" / "way" / f"retrain_{name}" / "log.jsonl", record_)
    write_json(retrain_directories("way")[1].tested, {"top1": 95.125, "top5": 99.0, "images": 300})
    return "way"


def read(save):
    return read_path_search(search_directory(save), retrain_directories(save))


def test_boards_begin_with_the_first_epoch_that_has_one(save):
    found = read(save)
    assert [(at.epoch, at.accuracies, at.top1) for at in found.boards] == [
        (2, (50.5, 40.25), None),
        (3, (70, 66), 81.5),
    ]
    assert found.retrained == (("43", 2, 96.5, None), ("arch", 2, 97.25, 95.125))


def test_the_head_of_the_page_tells_of_the_search_and_not_of_phases(save):
    assert read(save).tiles() == {
        "top-1 of the path, supernet's weights": "81.500",
        "top-1 of 43, alone": "96.500",
        "top-1 of arch, alone": "97.250",
    }
    assert main(["--save", save]) == 0
    page = Path(f"results/{save}/report.html").read_text(encoding="utf-8")
    assert "<dt>top-1 of arch, alone</dt><dd>97.250</dd>" in page
    assert "<dt>phases</dt>" not in page


def test_nothing_was_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read("none") is None


def test_the_figure_has_all_paths_the_best_and_its_accuracy(save):
    points, best, validated = board_figure(read(save))["data"]
    assert list(zip(points["x"], points["y"], points["text"], strict=True)) == [
        (2, 50.5, PATHS[0]),
        (2, 40.25, PATHS[1]),
        (3, 70.0, PATHS[0]),
        (3, 66.0, PATHS[1]),
    ]
    assert (best["x"], best["y"]) == ([2, 3], [50.5, 70.0])
    assert (validated["x"], validated["y"]) == ([3], [81.5])


def test_the_page_of_a_search_alone(save):
    assert main(["--save", save]) == 0
    page = search_directory(save).path.parent.joinpath("report.html").read_text(encoding="utf-8")
    text = page.split('<script type="application/json"')[0]
    assert "The search found a path of 1.234 M MACs and 567.0 k parameters" in text
    assert 'data-figure="board"' in text
    assert "The board after epoch 3" in text
    assert '<td>arch</td><td class="number">2</td><td class="number">97.250</td><td class="number">95.125</td>' in text
    assert "Phases and proxies" not in text


def test_the_board_is_drawn_for_papers(save, tmp_path):
    pytest.importorskip("matplotlib")
    main(["--save", save, "--figures", str(tmp_path / "figures")])
    assert ">paths on the board" in (tmp_path / "figures" / "board.svg").read_text()


def test_another_log_is_refused(save):
    append(search_directory(save).log, {"epoch": 0, "board": {"measure": "held_prob", "entries": [{"path": "x"}]}})
    with pytest.raises(InputError, match=r"search/log.jsonl: is not the log of a Cream search"):
        read(save)
