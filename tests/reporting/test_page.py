"""The page's text: what it says, what it leaves out, and that nothing from a file becomes markup."""

import dataclasses
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fewshot_nas.ranking.correlation import Correlation, Interval
from fewshot_nas.records.files import write_text
from fewshot_nas.reporting.gather import gather
from fewshot_nas.reporting.page import render
from fewshot_nas.reporting.sections import sections, verdict
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.scores import Scored
from fewshot_nas.space.pool import Entry
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

VOID = {"meta", "link", "br", "col", "img", "hr", "input"}


class Outline(HTMLParser):
    """Collects elements, and checks that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def embedded(page, name):
    return json.loads(re.search(f'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)[1])


def with_tau(study, value, low):
    row = Correlation(30, 0, 0, *[Interval(value, low, 0.95, 0.1)] * 3)
    proxy = Correlation(30, 0, 0, *[Interval(0.5, 0.3, 0.7, 0.1)] * 3)
    return dataclasses.replace(study, phase_rows={"2": row}, proxy_rows={"macs": proxy})


@pytest.fixture
def page(study):
    return render(study)


def test_every_element_is_closed(page):
    assert outline(page).seen.count("section") == 7


def test_the_page_loads_nothing(page):
    assert outline(page).addresses == ["data:,"]


def test_every_place_for_a_figure_has_one_and_no_figure_is_left_over(page):
    wanted = set(re.findall(r'data-figure="([^"]*)"', page)) | {"cost 1", "cost 2"}  # of which one is shown at a time
    assert wanted == set(embedded(page, "figures"))


def test_every_column_that_a_figure_names_is_there(page):
    names = set(re.findall(r'"(@[^"]*)"', json.dumps(embedded(page, "figures"))))
    assert names == set(embedded(page, "columns"))


def test_the_best_archs_are_listed_for_each_phase(study, page):
    for phase in study.phases:
        best = max(phase.evaluation.scores.values())
        panel = re.search(f'<div data-panel="{phase.name}".*?</table>', page, re.DOTALL)[0]
        assert best.code in panel
        assert f"{best.acc:.2f}" in panel


def test_manifests_are_shown_key_by_key(page):
    assert "<td>versions.torch</td><td><code>2.9</code></td>" in page
    assert "<td>parent.sha256</td><td><code>ab</code></td>" in page


def test_the_answer_of_fit_comes_first_and_no_ground_truth_is_missed(study):
    row = {
        "title": "a",
        "top1": [1, 0, 2],
        "balanced": [1, 0, 2],
        "latency_us": 9.0,
        "macs": 9,
        "params": 9,
        "code": "1",
    }
    answer = {"sentence": "It won.", "winner": "found", "networks": {"found": row}, "images": 9, "device": "cpu"}
    answered = replace(study, answer={**answer, "wrong": [], "classes": []}, truth={})
    assert verdict(answered) == "It won."
    shown = "".join(sections(answered))
    assert "There is no ground truth" not in shown
    assert "There is no ground truth" in "".join(sections(replace(study, truth={})))
    many = replace(study, answer={**answer, "wrong": [], "classes": list(range(300)), "confusion": []})
    assert "300 classes are more than a picture can show" in "".join(sections(many))


@pytest.mark.parametrize(
    ("tau", "low", "said"),
    [
        (0.4, 0.1, "reaches 0.500 without any training: this supernet does not beat it"),
        (0.6, 0.4, "30 archs are too few to tell which is better"),
        (0.8, 0.6, "the supernet's whole interval lies above it"),
    ],
)
def test_the_verdict_weighs_the_supernet_against_the_best_proxy(study, tau, low, said):
    assert verdict(with_tau(study, tau, low)).endswith(f"{said}.")


def test_without_a_ground_truth_the_page_says_how_to_get_one(study):
    bare = dataclasses.replace(study, truth={}, phase_rows={}, proxy_rows={})
    assert "python -m fewshot_nas.train_stand_alone --save=demo --target_arch_num=all" in "".join(sections(bare))


def test_without_anything_the_page_says_how_to_begin(empty_study):
    page = render(empty_study)
    assert "python -m fewshot_nas.train_supernet --save=demo" in page
    assert 'data-figure="' not in page
    outline(page)


def test_unmerged_scores_are_to_be_merged(phase_files, truth):
    study = gather("demo", {"3_from_2": phase_files("3_from_2", evaluations=["1_all_test"])}, truth, PX8)
    assert "fewshot_nas.merge --save=demo --phase=3_from_2 --epoch=1_all_test" in "".join(sections(study))


def test_a_merge_of_some_parts_is_marked_as_such(phase_files, merged, truth):
    files = phase_files("1", evaluations=["1", "2"])
    merged(files.scores("1"), 40, parts="1-2", pool_parts=8)
    text = "".join(sections(gather("demo", {"1": files}, truth, PX8)))
    assert "Only parts 1-2 of 8 were merged" in text
    assert "evaluation 1 on 5,000 images, parts 1-2 of 8" in text
    merged(files.scores("2"), 60)
    assert "of 8" not in "".join(sections(gather("demo", {"1": files}, truth, PX8)))


def test_scores_that_are_not_there_are_to_be_made(phase_files, truth):
    study = gather("my run", {"3_from_2": phase_files("3_from_2", chosen=1)}, truth, PX8)
    assert "--test_set" not in "".join(sections(study))
    command = "python -m fewshot_nas.test --save=&#x27;my run&#x27; --phase=3_from_2"
    assert command in "".join(sections(study))


def test_training_without_a_ground_truth_has_curves_and_no_tau(phase_files):
    files = phase_files("1", epochs=0)
    write_text(files.log, '{"epoch": 0, "loss": {"largest": 1.5}}\n')
    page = render(gather("demo", {"1": files}, {}, PX8))
    assert set(embedded(page, "figures")) == {"loss"}
    assert "Training found no ground truth" in page


def test_nothing_from_a_file_becomes_markup(phase_files, archs):
    evil = "</script><img src=x onerror=alert(1)>"
    files = phase_files("1", manifest={evil: evil, "n": {evil: 1}}, evaluations=["1_all_test"])
    truth = {f"{evil}{number}": Entry(50 + number, archs[f"arch{number}"]) for number in range(1, 6)}
    scores = {arch_id: Scored(entry.acc, PX8.encode(entry.arch)) for arch_id, entry in truth.items()}
    write_merged(files.scores("1_all_test"), "top1", scores, {"images": 1, "checkpoint": evil})
    page = render(gather(evil, {"1": files}, truth, PX8))
    assert "img" not in outline(page).seen


def test_undefined_numbers_are_null(phase_files, archs):
    flat = {arch_id: Entry(50, arch) for arch_id, arch in archs.items()}
    embedded(render(gather("demo", {"1": phase_files("1")}, flat, PX8)), "figures")
