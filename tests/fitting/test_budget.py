"""A run keeps to its budget while the machine becomes slower: the real walk, on a clock that fakes advance."""

import random
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from fewshot_nas.fitting import decisions, state, steps
from fewshot_nas.fitting.changes import STEADY, UNLEARNED, nothing_learned
from fewshot_nas.fitting.plan import NETWORKS, plan
from fewshot_nas.fitting.state import Fit
from tests.fitting.test_plan import KNOWN


@pytest.fixture
def walk(tmp_path, monkeypatch):
    """Carry out a run in which each step takes some times as long as it would have when the plan was made."""
    monkeypatch.chdir(tmp_path)
    clock = SimpleNamespace(now=5.0)

    def carry_out(running, name, about_s):
        made = running.plan
        planned = made.epochs * KNOWN.epoch_s(KNOWN.step_s) + 1 if name in NETWORKS else made.seconds[name]
        clock.now += planned * running.state["times"](name)

    def timed(running, made):
        step_s = running.state["times"]("moment") * KNOWN.step_s
        return dict.fromkeys(NETWORKS[1:], "1"), dict.fromkeys(NETWORKS, step_s), step_s

    for module in (steps, state):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(state, "write_json", lambda path, value: None)
    monkeypatch.setattr(steps, "_carry_out", carry_out)
    monkeypatch.setattr(decisions, "_timed", timed)
    monkeypatch.setattr(decisions, "_if_learned", lambda running, made: made)
    monkeypatch.setattr(decisions, "_refuse_at_last", lambda running: None)
    monkeypatch.setattr(Fit, "words", lambda self, name: [name])

    def walk(budget_s, times):
        clock.now = 5.0
        made = plan(KNOWN, budget_s, clock.now)
        begun = {"plan": made.record(), "costs": asdict(KNOWN), "done": [], "decided": [], "took_s": {}, "codes": {}}
        running = Fit("mine", None, begun | {"budget_s": budget_s, "times": times}, 0.0)
        steps._walk(running)
        return running

    return walk


@pytest.mark.parametrize("pace", [0.4, 1.0])
@pytest.mark.parametrize("budget_s", [127, 150, 200, 300, 500, 800, 2000])
def test_a_run_ends_at_most_a_quarter_after_its_budget(walk, budget_s, pace):
    """Where no step takes more than so many times as long as when it was timed, also if it is faster now."""
    for seed in range(20):
        rng = random.Random(seed)
        drawn = [STEADY, rng.choice([1.0, STEADY]), rng.uniform(1.0, STEADY)] if seed else [STEADY]
        steady = walk(budget_s, lambda name, drawn=drawn, rng=rng: pace * rng.choice(drawn))
        assert steady.spent_s <= 1.25 * budget_s
        assert {"found", "reference"} <= set(steady.state["done"])


def test_with_a_steady_machine_it_ends_in_time(walk):
    for budget_s in (127, 200, 500, 2000):
        assert walk(budget_s, lambda name: 1.0).spent_s <= 0.95 * budget_s


def test_time_that_earlier_steps_have_freed_is_used(walk):
    """By all networks alike, where they have not the epochs wanted; one that was left out may be among them."""
    for budget_s in (127, 150, 200, 300):
        planned, fast = walk(budget_s, lambda name: 1.0), walk(budget_s, lambda name: 0.7)
        epochs, longer = (len({*NETWORKS} & {*each.plan.seconds}) * each.plan.epochs for each in (planned, fast))
        assert longer >= 1.4 * epochs or fast.plan.epochs == KNOWN.wanted
        if fast.plan.epochs < KNOWN.wanted:
            assert 0.85 * budget_s < fast.spent_s <= 0.95 * budget_s


def test_a_supernet_that_has_learned_nothing_is_not_searched(walk, monkeypatch, capsys):
    """The reference alone gets the time, where that makes its training longer."""

    def learned(running, made):
        took_s = running.state["took_s"]["supernet"]
        return nothing_learned(made, KNOWN, running.state["done"], took_s, running.state["budget_s"], running.spent_s)

    monkeypatch.setattr(decisions, "_if_learned", learned)
    assert {*NETWORKS} & {*walk(800, lambda name: 1.0).state["done"]} == {"found", "reference"}
    short = walk(200, lambda name: 1.0)
    assert short.state["done"] == ["pool", "latency", "supernet", "reference", "answer", "export", "report"]
    assert short.plan.epochs == KNOWN.wanted
    said = capsys.readouterr().out
    assert "the search within the bounds, the found network from scratch" in said
    assert f"({UNLEARNED})" in said


def test_on_a_machine_that_becomes_much_slower_it_is_said(walk, capsys):
    """So that the reference begins in time and ends late."""
    slow = walk(500, lambda name: {"found": 2.1, "reference": 2.7}.get(name, 1.0))
    said = capsys.readouterr().out
    assert "the budget of 8.3 min will be passed by about" in said
    assert slow.spent_s < 1.45 * 500


def test_a_reference_that_would_end_much_too_late_is_left_out(walk, capsys):
    slow = walk(500, lambda name: 3.0 if name in NETWORKS else 1.0)
    assert (
        "left out: ResNet-18, narrowed to about its cost, from scratch (with it all would end"
        in capsys.readouterr().out
    )
    assert slow.state["done"][-2:] == ["export", "report"]
    assert slow.spent_s < 1.25 * 500
