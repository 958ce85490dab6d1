"""The plan's arithmetic: what a time allows, and what is left out first."""

from dataclasses import replace

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.fitting.asked import read_budget
from fewshot_nas.fitting.changes import (
    ALONE,
    DRAWN,
    STEADY,
    UNLEARNED,
    extended,
    in_time,
    lateness,
    left_s,
    networks_s,
    nothing_learned,
    slower,
    timed,
)
from fewshot_nas.fitting.costs import Costs
from fewshot_nas.fitting.plan import (
    NETWORKS,
    STEPS,
    Plan,
    few_epochs,
    plan,
    sensible_s,
    trained,
    without,
)
from fewshot_nas.fitting.progress import omissions

# An epoch of a network takes 2 s, one of the supernet 5 s.
KNOWN = Costs(
    steps=10,
    step_s=0.15,
    supernet_step_s=0.48,
    images_s=0.2,
    checked_s=0.3,
    scored_s=0.0005,
    once_s=7.0,
    fixed={"pool": 1.0, "latency": 10.0, "merge": 1.0, "ranker": 2.0, "answer": 3.0, "export": 5.0, "report": 1.0},
    opening_s=1.0,
    wanted=40,
    fewest=10,
    supernet=(4, 20),
    images=100,
    calibration=100,
)
RANKER = {"scores", "merge", "ranker"}


def test_with_much_time_all_is_made_as_wanted():
    made = plan(KNOWN, 3600, 5)
    assert (made.epochs, made.supernet_epochs, made.sample, made.search) == (40, 20, 500, 500)
    assert list(made.seconds) == list(STEPS)
    assert made.left_out == {}
    assert made.seconds["supernet"] == 20 * 5 + 7 + 1
    assert made.seconds["scores"] == 500 * 0.1 + 1
    assert [made.seconds[name] for name in NETWORKS] == [40 * 2 + 1] * 3


def test_images_come_before_archs_where_there_is_time_for_enough_archs():
    many = replace(KNOWN, images=5_000)
    short, longer, long = (plan(many, budget, 5) for budget in (2_400, 10_800, 36_000))
    assert short.images == 1_000, "a tenth of the time is not enough for 250 networks twice on more"
    assert 60 <= short.sample == short.search < 500
    assert 1_000 < longer.images < 5_000
    assert longer.sample == longer.search == 250
    assert (long.images, long.sample) == (5_000, 500)
    assert plan(KNOWN, 36_000, 5).images == 100, "no more than there are"


def test_what_a_budget_does_not_allow_is_left_out_in_order():
    """Each shorter budget leaves out the same or more, keeps to its time, and has at least the least."""
    seen, before = [], set()
    for budget in range(600, 0, -5):
        try:
            made = plan(KNOWN, budget, 5)
        except InputError:
            seen.append("refused")
            continue
        assert seen[-1:] != ["refused"]
        assert set(made.left_out) >= before
        assert 5 + sum(made.seconds.values()) <= 0.9 * budget + 1e-6
        assert made.epochs >= KNOWN.fewest
        assert made.supernet_epochs >= 4
        assert made.sample + made.search >= 60
        before = set(made.left_out)
        seen.append("".join(sorted({each: each[0] for each in before}.values())))
    assert list(dict.fromkeys(seen)) == ["", "r", "mrrs", "refused"]


def test_too_short_a_budget_names_one_that_is_long_enough():
    with pytest.raises(
        InputError, match=r"of 60 s is too short .* the least is about 2\.1 min, sensible is about 3\.9 min; allow more"
    ):
        plan(KNOWN, 60, 5)
    assert plan(KNOWN, 2.1 * 60, 5).epochs == 10


def test_given_epochs_are_kept():
    made = plan(replace(KNOWN, wanted=12, fewest=12, supernet=(3, 3)), 3600, 5)
    assert (made.epochs, made.supernet_epochs) == (12, 3)


def test_networks_are_planned_as_they_train():
    """A network that is found may be slower than the reference; all get the same epochs."""
    made = plan(KNOWN, 3600, 5)
    fast = trained(made, KNOWN, {"found": 0.15, "reference": 0.15, "random": 0.15}, 400)
    assert fast.epochs == 40
    slow = trained(made, KNOWN, {"found": 0.55, "reference": 0.15, "random": 0.15}, 201)
    assert (slow.epochs, slow.left_out) == (20, {})
    assert [slow.seconds[name] for name in NETWORKS] == pytest.approx([121, 41, 41])
    short = trained(made, KNOWN, {"found": 0.55, "reference": 0.15, "random": 0.15}, 151)
    assert short.left_out == {"random": "three trainings would get 15 epochs each, of 40 wanted"}
    assert short.epochs == 18
    assert trained(made, KNOWN, dict.fromkeys(NETWORKS, 0.15), -1).epochs == KNOWN.fewest


def test_later_the_same_is_left_out_in_the_same_order():
    made, left = plan(KNOWN, 800, 5), []
    for spent in range(0, 1200, 10):
        now = in_time(made, ["pool", "latency", "supernet"], 800, spent, 1.0)
        left.append(frozenset(now.left_out))
    assert list(dict.fromkeys(left)) == [frozenset(), frozenset({"random"}), frozenset({"random", *RANKER})]
    assert now.search == 60
    assert now.seconds["search"] < made.seconds["search"]
    assert in_time(made, [], 800, 0, 5.0).left_out.keys() == {"random", *RANKER}


def test_what_is_done_is_not_left_out():
    made = plan(KNOWN, 800, 5)
    late = in_time(made, ["pool", "latency", "supernet", "scores"], 800, 5000, 1.0)
    assert set(late.left_out) == {"random"}
    assert left_s(late, set(STEPS) - {"export"}) == 5


def test_the_reference_is_left_out_if_it_would_end_much_too_late():
    """Once the found network is trained: before, the epochs are still to be set."""
    made = plan(KNOWN, 800, 5)
    done = ["pool", "latency", "supernet", "scores", "merge", "ranker", "search"]
    assert "reference" in in_time(made, done, 800, 2000, 1.0).seconds
    done.append("found")
    left = left_s(without(made, ("random",), ""), done)
    assert "reference" in in_time(made, done, 800, 1000 - left, 1.0).seconds
    late = in_time(made, done, 800, 1010 - left, 1.0)
    assert late.left_out["reference"] == "with it all would end 3.5 min after the budget"
    assert "reference" in in_time(made, [*done, "reference"], 800, 5000, 1.0).seconds


def test_what_is_left_takes_as_much_longer_as_the_last_training():
    made = plan(KNOWN, 800, 5)
    took = {"pool": 50.0, "supernet": 1.5 * made.seconds["supernet"], "scores": 0.1}
    assert slower(made, {}) == slower(made, {"pool": 50.0}) == 1.0
    assert slower(made, took) == pytest.approx(1.5)
    assert slower(made, took | {"found": 2.0 * made.seconds["found"]}) == pytest.approx(2.0)
    assert slower(made, took | {"found": 0.5 * made.seconds["found"]}) == 1.0
    left = left_s(made, ["pool"])
    assert lateness(made, ["pool"], 800, 800 - left, 1.0) == ""
    assert lateness(made, ["pool"], 800, 920 - 2 * left, 2.0) == (
        "the budget of 13 min will be passed by about 2.0 min: steps take 2.0 times as long as when they were timed"
    )


def test_time_that_was_freed_makes_trainings_longer():
    """Alike, and at most so long as is wanted; 19 in 20 parts of the budget, if steps that become slower allow it."""
    made, steps_s = plan(KNOWN, 300, 5), dict.fromkeys(NETWORKS, 0.15)
    took = made.seconds["supernet"]
    assert (made.epochs, made.left_out) == (23, {})
    given = {spent: timed(made, KNOWN, steps_s, 0.15, took, networks_s(300, spent, 10)).epochs for spent in (30, 120)}
    assert given == {30: 36, 120: 25}
    assert networks_s(300, 120, 10) == pytest.approx(0.95 * 300 - 120 - 10)
    assert networks_s(300, 15, 10) == pytest.approx((1.25 * 300 - 15) / STEADY - 10)


def test_a_random_network_comes_back_where_all_are_trained_for_half_as_long_as_wanted():
    made, steps_s = without(plan(KNOWN, 800, 5), ("random",), "no time"), dict.fromkeys(NETWORKS, 0.15)
    took = made.seconds["supernet"]
    enough = timed(made, KNOWN, steps_s, 0.15, took, 3 * 40 * 2)
    assert (enough.epochs, enough.left_out, list(enough.seconds)) == (40, {}, list(STEPS))
    half = timed(made, KNOWN, steps_s, 0.15, took, 3 * 20 * 2)
    assert (half.epochs, half.left_out) == (20, {})
    less = timed(made, KNOWN, steps_s, 0.15, took, 3 * 20 * 2 - 1)
    assert (less.epochs, less.left_out) == (29, {"random": "no time"})
    drawn = replace(made, left_out={"random": DRAWN})
    assert timed(drawn, KNOWN, steps_s, 0.15, took, 3 * 40 * 2).left_out == {"random": DRAWN}
    del steps_s["random"]
    assert timed(made, KNOWN, steps_s, 0.15, took, 3 * 40 * 2).left_out == {"random": "no time"}


def unsearched(made, budget_s=200):
    return nothing_learned(made, KNOWN, BEFORE, made.seconds["supernet"], budget_s, 100)


def test_without_a_supernet_that_learned_one_network_gets_the_time():
    """Unless there is time for both of them, as wanted."""
    made = plan(KNOWN, 300, 5)
    alone = unsearched(made)
    assert list(alone.seconds) == ["pool", "latency", "supernet", "reference", "answer", "export", "report"]
    assert {alone.left_out[name] for name in ("search", "found")} == {UNLEARNED}
    later = timed(alone, KNOWN, {"reference": 0.15}, 0.15, made.seconds["supernet"], 60)
    assert (later.epochs, later.seconds["reference"]) == (30, 61.0)
    assert [unsearched(made, budget).left_out.keys() == {"random"} for budget in (250, 300, 330)] == [0, 0, 1]
    fast = nothing_learned(made, KNOWN, BEFORE, made.seconds["supernet"] / 2, 300, 100)
    assert fast.left_out.keys() == {"random"}


BEFORE = ["pool", "latency", "supernet"]
SCORED = [*BEFORE, "scores", "merge", "ranker", "search"]


def test_a_longer_budget_makes_what_was_left_out():
    """What was begun stays as it is."""
    short, long = plan(KNOWN, 125, 5), plan(KNOWN, 3600, 5)
    assert short.left_out.keys() == {"random"} | RANKER
    assert extended(short, KNOWN, ["pool"], 3600, 5) == long
    made = extended(short, KNOWN, BEFORE, 3600, 5)
    assert (made.supernet_epochs, made.seconds["supernet"]) == (4, short.seconds["supernet"])
    assert (made.sample, made.search, made.epochs, made.left_out) == (500, 500, 40, {})
    assert list(made.seconds) == list(STEPS)
    made = extended(short, KNOWN, [*BEFORE, "scores", "search"], 3600, 5)
    assert (made.sample, made.search, made.epochs, made.left_out.keys()) == (0, 60, 40, RANKER)
    made = extended(short, KNOWN, [*BEFORE, "search", "found"], 3600, 5)
    assert (made.epochs, made.left_out.keys()) == (short.epochs, RANKER)
    assert made.seconds["random"] == made.seconds["found"] == short.seconds["found"]


def test_a_longer_budget_brings_back_a_reference_that_was_late():
    made = without(plan(KNOWN, 800, 5), ("random", "reference"), "late")
    assert extended(made, KNOWN, STEPS, 900, 5) == plan(KNOWN, 800, 5)


@pytest.mark.parametrize("budget_s", [1, 800, 3600])
def test_a_longer_budget_does_not_bring_back_what_cannot_be(budget_s):
    assert extended(unsearched(plan(KNOWN, 800, 5)), KNOWN, STEPS, budget_s, 5) == unsearched(plan(KNOWN, 800, 5))
    alone = without(plan(KNOWN, 800, 5), ("random",), ALONE)
    assert extended(alone, KNOWN, STEPS, budget_s, 5) == alone
    assert extended(alone, KNOWN, SCORED, budget_s, 5).left_out == {"random": ALONE}


def test_a_quiet_moment_does_not_count_against_a_slow_supernet():
    made = without(plan(KNOWN, 800, 5), ("random",), "")
    took, steps = made.seconds["supernet"], dict.fromkeys(NETWORKS, 0.15)
    usual = timed(made, KNOWN, steps, 0.15, took, 90)
    assert usual.epochs == 22
    slow = timed(made, KNOWN, steps, 0.15, 2 * took, 90)
    assert slow.epochs == 11
    assert slow.seconds["found"] == pytest.approx(11 * 2 * 2 + 1)
    now = timed(made, KNOWN, dict.fromkeys(NETWORKS, 0.3), 0.3, took, 90)
    assert (now.epochs, now.seconds["found"]) == (slow.epochs, slow.seconds["found"])


def test_few_epochs_are_said_with_a_sensible_budget():
    made = plan(KNOWN, 130, 5)
    assert few_epochs(made, KNOWN) == [
        "each network has 11 of the 40 epochs wanted",
        "the supernet has 4 of the 20 epochs wanted",
    ]
    enough = sensible_s(KNOWN, 130, 5)
    assert few_epochs(plan(KNOWN, enough, 5), KNOWN) == []
    assert few_epochs(plan(KNOWN, enough / 1.06, 5), KNOWN)


def test_one_reason_is_said_once():
    made = plan(KNOWN, 125, 5)
    assert omissions(made.left_out) == [
        "left out: scores of the pool, scores merged, the ranker, a random network of its cost from scratch"
        " (scores of 120 networks would take 12 s)"
    ]


def test_a_plan_is_read_back():
    made = plan(KNOWN, 300, 5)
    assert Plan(**made.record()) == made


@pytest.mark.parametrize("text", ["", "0h", "2", "2 days", "-1h", "1e9h"])
def test_a_budget_is_a_time(text):
    with pytest.raises(InputError, match="expected a time such as 2h, 30min or 90s"):
        read_budget(text)
