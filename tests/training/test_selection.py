"""Which epoch is chosen, and that forgetting the others never changes it."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.training.supernet_task import RULE, Candidate, choose, keep, rule

measured = st.tuples(st.one_of(st.just(math.nan), st.sampled_from([-0.5, 0.0, 0.25, 0.5])), st.floats(0, 0.5))


def candidates(*values, error=0.1):
    return [Candidate(epoch, tau, error) for epoch, tau in enumerate(values)]


def test_the_latest_within_one_standard_error_is_chosen():
    assert choose(candidates(0.5, 0.7, 0.65, 0.61, 0.59)).epoch == 3


def test_the_largest_is_chosen_if_none_after_it_comes_near():
    assert choose(candidates(0.5, 0.7, 0.3)).epoch == 1


def test_without_a_ground_truth_the_last_is_chosen():
    assert choose(candidates(math.nan, math.nan, error=math.nan)).epoch == 1


def test_the_rule_speaks_of_tau_only_where_there_is_one():
    assert rule(Candidate(3, 0.5, 0.1)) == RULE.format("likelihood")
    assert "whose tau by mean probability is" in rule(Candidate(3, 0.5, 0.1, "prob"))
    assert rule(Candidate(3, math.nan, math.nan)) == "the last epoch, because no tau is known"


def test_an_epoch_without_tau_loses_to_one_with_it():
    assert choose([Candidate(0, -0.5, 0.1), Candidate(1, math.nan, math.nan)]).epoch == 0


def test_as_many_are_kept_as_wanted():
    assert [each.epoch for each in keep(candidates(0.1, 0.5, 0.2, 0.45), 3)] == [1, 2, 3]


@given(st.lists(measured, min_size=1, max_size=12), st.integers(1, 5))
def test_forgetting_does_not_change_the_choice(values, count):
    everything = [Candidate(epoch, tau, error) for epoch, (tau, error) in enumerate(values)]
    kept = []
    for candidate in everything:
        kept = keep([*kept, candidate], count)
        assert len(kept) <= max(count, 2)
        assert choose(kept) == choose(everything[: candidate.epoch + 1])


def test_taus_of_two_metrics_are_not_compared():
    """From the third epoch on, so few mistakes are left that taus are of mean probability."""
    taus = [("likelihood", 0.9), ("likelihood", 0.8), ("prob", 0.4), ("prob", 0.6), ("prob", 0.3)]
    known = [Candidate(epoch, tau, 0.05, metric) for epoch, (metric, tau) in enumerate(taus)]
    assert [choose(known[: count + 1]).epoch for count in range(5)] == [0, 0, 2, 3, 3]
    assert [each.epoch for each in keep(known, 3)] == [2, 3, 4]
    assert [each.epoch for each in keep(known[:3], 3)] == [0, 1, 2]  # as many as were asked for
