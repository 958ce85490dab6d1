"""The arms of the study change what they say, and their tables are made from committed scores."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.training.step import Answer
from studies.arms import run as arms
from studies.arms import table as tables

SMALLEST, LARGEST = SPACES["px28"].smallest, SPACES["px28"].largest


def answers(*gaps):
    """Of the smallest arch, then of the largest; the larger its gap, the less an answer loses."""
    for arch, gap in zip((SMALLEST, LARGEST), gaps, strict=True):
        yield Answer(arch, torch.tensor([[gap, 0.0]], requires_grad=True), torch.tensor([0]), 0.0)


@pytest.mark.parametrize(("gaps", "extra"), [((2.0, 1.0), 2.0), ((1.0, 2.0), 0.0)])
def test_an_arch_counts_more_only_if_it_computes_more_and_loses_more(gaps, extra):
    macs = {SMALLEST: 1, LARGEST: 2}
    asked = list(answers(*gaps))
    losses = arms.Pairwise(2.0, macs.__getitem__).backward(iter(asked))
    alone = list(answers(*gaps))
    for number, answer in enumerate(alone):
        answer.loss().backward()
        factor = 1 + (extra if number == 1 else 0)
        assert torch.allclose(asked[number].logits.grad, factor * answer.logits.grad)
        assert losses[number] == answer.loss().detach()


def test_the_average_follows_the_weights_and_goes_on_from_its_state():
    network = torch.nn.Linear(1, 1, bias=False)
    average = arms.Average(network, 10)  # a horizon of two steps
    before = network.weight.item()
    with torch.no_grad():
        network.weight += 1
    average()
    assert average.state_dict()["weight"].item() == pytest.approx(before + 0.5)
    other = arms.Average(network, 10)
    other.load_state_dict(average.state_dict())
    other()
    assert other.state_dict()["weight"].item() == pytest.approx(before + 0.75)


def test_all_parts_follow_known_ones_and_cost_the_same():
    whole = {name: len(part.images) for name, part in arms.PARTS.items()}
    for name, part in arms.PARTS.items():
        if name not in ("largest", "parent", "warm"):
            assert whole[name] + (whole[part.after] if part.after else 0) == 60_000
    assert whole["warm"] + whole["largest"] / 2 == 60_000


ARCHS = make_pool(SPACES["px28"], 0, 12)
TRUTH = {arch_id: 50.0 + rank for rank, arch_id in enumerate(ARCHS)}
SCORES = {**TRUTH, "arch1": TRUTH["arch2"], "arch2": TRUTH["arch1"]}
BACKWARDS = {arch_id: -score for arch_id, score in SCORES.items()}


def test_an_arm_is_compared_with_the_default_of_the_same_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "arms.json")
    good, bad = ({"top1": scores, "prob": scores} for scores in (SCORES, BACKWARDS))
    results = tmp_path / "results"
    for name, scores in (("default_s0", good), ("default_s1", bad), ("channel_s0", bad)):
        write_json(results / f"{name}.json", scores)
    tables.collect(results)
    assert list(read_json(tmp_path / "arms.json")) == ["channel_s0", "default_s0", "default_s1"]
    printed = tables.lines(tables.read(tmp_path / "arms.json"), TRUTH, ARCHS, SPACES["px28"])
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in printed}
    assert rows["default"][1:4] == ["2", "12", "0.000"]  # the mean of two seeds of which one is the other backwards
    # From 64/66 to -64/66: one pair of 66 is in the wrong order.
    assert [rows[tables.ARMS["channel"]][column][:6] for column in (5, 7)] == ["-1.939", "-1.939"]


def test_measures_of_the_same_nets_are_compared(tmp_path):
    measures = {"top1": BACKWARDS, "prob": BACKWARDS, "log": SCORES}
    write_json(tmp_path / "arms.json", {"plain_s0": measures})
    (row,) = [*tables._measures(tables.read(tmp_path / "arms.json"), TRUTH)][2:]
    assert row.split(" | ")[5].startswith("+1.939")


def test_a_sure_and_wrong_answer_costs_log_probability():
    """Half of the answers are sure and wrong."""
    logits, labels = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1])
    inputs = SimpleNamespace(scoring_batches=lambda: [(logits, labels)])
    found = arms.measured(torch.nn.Identity(), inputs)
    assert (found["top1"], found["prob"]) == (50, pytest.approx(50))
    assert found["log"] == pytest.approx(-4.5, abs=1e-3)


def test_a_gains_interval_covers_the_seeds():
    """One seed gains all there is, the other loses it; resampled pairs of seeds are both, one or the other."""
    found = tables.gain_over_seeds([TRUTH, BACKWARDS], [BACKWARDS, TRUTH], TRUTH)
    assert (found.low, found.high) == (pytest.approx(-1.97, abs=0.04), pytest.approx(1.97, abs=0.04))
    assert abs(found.value) < 0.1
    same = tables.gain_over_seeds([SCORES, SCORES], [SCORES, SCORES], TRUTH)
    assert same.value == same.low == same.high == 0


def test_a_splits_offsets_are_told_from_what_single_archs_change():
    """Group 1 gains 3 points in both seeds, and by turns 1 point more and less; nothing else changes."""
    rng = np.random.default_rng(0)
    groups = np.arange(40)[:, None] % 2
    before = rng.normal(size=40)
    after = [before + (3 + noise) * groups[:, 0] for noise in (1, -1)]
    truth = np.where(groups[:, 0] == 1, before + 9, before)
    common, noise, agrees = tables._offsets(after, [before, before], [groups, groups], truth)
    assert noise == pytest.approx(2**0.5 / 2, rel=1e-6)  # of an offset of 4 or 2 points, around its mean over archs
    assert common == pytest.approx((1.5**2 - noise**2 / 2) ** 0.5, rel=1e-6)
    assert agrees > 0.7  # ranks, while offsets are points


def test_tau_is_told_apart_by_pairs():
    x, y = np.array([1.0, 2.0, 3.0, 0.0]), np.array([1.0, 2.0, 3.0, 4.0])
    last = np.arange(4) == 3
    chosen = last[:, None] | last[None]
    assert tables._tau_of_pairs(x, y, chosen) == -1
    assert tables._tau_of_pairs(x, y, ~chosen) == 1
