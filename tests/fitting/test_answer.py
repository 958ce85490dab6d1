"""Intervals of the answer, against values that were computed otherwise."""

import json

import numpy as np
import torch

from fewshot_nas.data.images import repeated_indices
from fewshot_nas.fitting.verdict import TITLES, Terms, sentence, unfit, unlearned
from fewshot_nas.ranking.confidence import balanced, gain, top1


def test_wilson():
    """For 81 of 263, as in Newcombe 1998, table I."""
    value, low, high = top1(np.array([1.0] * 81 + [0.0] * 182))
    assert (round(value, 2), low, high) == (30.8, 25.53, 36.62)


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    labels = np.array([0] * 90 + [1] * 10)
    right = np.array([1.0] * 90 + [0.0] * 10)
    value, low, high = balanced(right, labels)
    assert value == 50
    assert low < 50 < high
    assert gain(right, 1 - right, labels)[0] == 0
    assert gain(right, 1 - right, None)[0] == 80


def test_equal_networks_differ_by_nothing_and_that_is_not_sure():
    right = np.array([1.0, 0.0] * 20)
    value, low, high = gain(right, right, None)
    assert value == 0
    assert low == -high < 0


def test_repeated_images_make_classes_even():
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 20)
    assert labels[repeated_indices(labels, 1.0)].bincount().tolist() == [50, 50, 50]
    assert repeated_indices(labels, 0.0).tolist() == list(range(77))


ROWS = {
    name: {"title": TITLES[name], "top1": [top, top - 6, top + 6], "macs": macs, "params": macs / 20, "latency_us": us}
    for name, top, macs, us in (("found", 71.0, 6.484e6, 1560), ("reference", 43.0, 4.991e6, 1260))
}


def said(winner, differences, terms, rows=ROWS):
    found = {"networks": rows, "winner": winner, "differences": differences, "images": 200}
    return sentence(found, terms)


def test_the_answer_compares_costs_by_the_bound():
    by_macs = Terms("top1", "macs", {})
    assert said("found", {"reference": [28.0, 20.1, 35.4]}, by_macs) == (
        "The found network is the result: accuracy 71.0 % [65.0, 77.0] on 200 test images, 6.5 M multiply-adds, 1.56 ms"
        " in torch. It is 28.0 points [20.1, 35.4] above ResNet-18 narrowed, beyond chance; that one has 43.0 %"
        " [37.0, 49.0], 5.0 M multiply-adds and 1.26 ms, so by multiply-adds it costs 23 % less. As these"
        " images decided, its accuracy is a little too high."
    )
    by_time = Terms("top1", "latency", {})
    assert "so by time it costs 19 % less" in said("found", {"reference": [28, 20, 35]}, by_time)
    assert "so by multiply-adds it costs 30 % more" in said("reference", {"found": [1, -2, 3]}, by_macs)
    for gone, why in (("reference", "with it all would end late"), ("found", "nothing was learned")):
        kept = "found" if gone == "reference" else "reference"
        alone = said(kept, {}, Terms("top1", "macs", {"random": "no time", gone: why}), {kept: ROWS[kept]})
        assert alone.endswith(f"It was compared with no other network ({why}).")


def test_a_network_beyond_the_bounds_may_be_better_and_is_not_the_result():
    beyond = Terms("top1", "macs", {"found": "nothing was learned"}, ["reference"])
    better = said("found", {"reference": [-3.0, -5.0, -1.0]}, beyond)
    assert " It is 3.0 points [1.0, 5.0] below ResNet-18 narrowed, beyond the bounds, beyond chance; that" in better
    alone = said("reference", {}, beyond, {"reference": ROWS["reference"]})
    assert " It is beyond the bounds, as no other network was trained. It was compared with no other" in alone


def test_a_network_that_may_only_guess_is_not_to_be_used():
    """15 % [10.7, 20.6] of eight equal classes may be chance; 25 % [19, 32] is not."""
    assert " Do not use it: naming one class for every image reaches 12.5 %" in unfit([15.0, 10.7, 20.6], 1 / 8)
    assert unfit([25.0, 19.0, 32.0], 1 / 8) == ""


def test_that_the_supernet_had_learned_nothing_is_part_of_the_answer(tmp_path):
    for value, learned in ((30.0, True), (16.0, False)):
        lines = [{"manifest": {"guessing": 17.2}}, {"scores": {"1": [value, 60.0], "2": [value + 1, 60.0]}}]
        (tmp_path / "journal.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
        said = unlearned(tmp_path / "journal.jsonl")
        assert (said == "") == learned
    assert said.startswith(" The supernet had not learned: its networks reach 16 %, guessing up to 17 %. So the found")
