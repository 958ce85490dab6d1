"""The scorer and its executors: the order of results changes nothing, and processes share the units."""

import pickle
import random

import pytest
from torch.distributed.distributed_c10d import _get_default_store

from fewshot_nas.cli.errors import InputError
from fewshot_nas.distributed import joined
from fewshot_nas.evaluation import executors
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.executors import Local, Torchrun
from fewshot_nas.evaluation.scorer import Scorer


class Shuffled(Local):
    """Another executor: it computes in a random order."""

    def results(self, numbers, work):
        yield from super().results(random.Random(0).sample(numbers, len(numbers)), work)


def test_scores_do_not_depend_on_the_order_of_results(make_supernet, make_archs, inputs):
    supernet, archs = make_supernet(2), make_archs(16)
    local, shuffled = (Scorer(supernet, inputs, each, unit_networks=2) for each in (Local(), Shuffled()))
    assert len(local.plan(archs).units) > 4
    assert shuffled.scores(archs) == local.scores(archs)


class Remote(Local):
    """An executor whose worker is sent the work once, as bytes."""

    def results(self, numbers, work):
        yield from super().results(numbers, pickle.loads(pickle.dumps(work)))


def test_a_worker_elsewhere_finds_the_same_scores(make_supernet, make_archs, inputs):
    supernet, archs = make_supernet(2), make_archs(8)
    assert Scorer(supernet, inputs, Remote()).scores(archs) == Scorer(supernet, inputs).scores(archs)


def test_no_archs_have_no_scores(make_supernet, inputs):
    assert Scorer(make_supernet(1), inputs).scores([]) == []


@pytest.mark.dist
def test_ranks_share_the_units_and_all_learn_all_scores(make_supernet, make_archs, inputs, ranks):
    supernet, archs = make_supernet(2), make_archs(16)

    def one_of_three():
        with joined("cpu") as world:
            scorer = Scorer(supernet, inputs, Torchrun(world), unit_networks=2)
            return scorer.scores(archs), scorer.scores(archs[:3])

    scorer = Scorer(supernet, inputs, unit_networks=2)
    assert ranks(3, one_of_three) == [(scorer.scores(archs), scorer.scores(archs[:3]))] * 3


@pytest.mark.dist
def test_a_rank_that_is_busy_leaves_the_rest_to_the_others(make_supernet, make_archs, inputs, ranks, monkeypatch):
    """Rank 1 holds its unit until all others are done; with fixed shares nobody could do them."""
    supernet, archs = make_supernet(1), make_archs(16)
    units = len(Scorer(supernet, inputs, unit_networks=2).plan(archs).units)

    def one_of_three():
        computed = []
        with joined("cpu") as world:
            store = _get_default_store()

            class Counted(Walk):
                def sums(self):
                    computed.append(None)
                    if world.rank == 1:
                        store.set("rank 1 is busy", "")
                        store.wait(["all others are done"])
                    else:
                        store.wait(["rank 1 is busy"])
                        if store.add("begun by others", 1) == units - 1:
                            store.set("all others are done", "")
                    return super().sums()

            monkeypatch.setattr(executors, "Walk", Counted)
            scores = Scorer(supernet, inputs, Torchrun(world), unit_networks=2).scores(archs)
        return len(computed), scores

    counts, scores = zip(*ranks(3, one_of_three), strict=True)
    assert sum(counts) == units > 4
    assert counts[1] == 1
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.dist
def test_units_are_taken_largest_first(make_supernet, make_archs, inputs, ranks, monkeypatch):
    supernet, archs = make_supernet(1), make_archs(16)
    macs = [unit.macs for unit in Scorer(supernet, inputs, unit_networks=2).plan(archs).units]

    def one_of_two():
        taken = []

        class Noting(Walk):
            def __init__(self, supernet, unit, inputs):
                taken.append(unit.macs)
                super().__init__(supernet, unit, inputs)

        monkeypatch.setattr(executors, "Walk", Noting)
        with joined("cpu") as world:
            Scorer(supernet, inputs, Torchrun(world), unit_networks=2).scores(archs)
        return taken

    taken = ranks(2, one_of_two)
    assert all(each == sorted(each, reverse=True) for each in taken)
    assert sorted(macs) == sorted(macs for each in taken for macs in each)
    assert sorted(macs) != macs[::-1]


@pytest.mark.dist
@pytest.mark.parametrize("failing", [0, 1])
def test_a_failing_unit_ends_all_ranks(make_supernet, make_archs, inputs, ranks, monkeypatch, failing):
    supernet, archs = make_supernet(1), make_archs(16)

    def one_of_two():
        with joined("cpu") as world:

            class Failing(Walk):
                def sums(self):
                    if world.rank == failing:
                        raise ValueError("out of paper")
                    return super().sums()

            monkeypatch.setattr(executors, "Walk", Failing)
            with pytest.raises((ValueError, InputError)) as caught:
                Scorer(supernet, inputs, Torchrun(world), unit_networks=2).scores(archs)
        return type(caught.value).__name__, str(caught.value)

    said = ranks(2, one_of_two)
    assert said[failing] == ("ValueError", "out of paper")
    other = "process 1: out of paper" if failing else "the evaluation was stopped, because another process failed"
    assert said[1 - failing] == ("InputError", other)


@pytest.mark.dist
def test_a_rank_stops_when_the_main_one_no_longer_wants_results(make_supernet, make_archs, inputs, ranks):
    supernet, archs = make_supernet(1), make_archs(16)

    def one_of_two():
        with joined("cpu") as world:
            scorer = Scorer(supernet, inputs, Torchrun(world), unit_networks=2)
            plan = scorer.plan(archs)
            results = scorer.results(plan, range(len(plan.units)))
            if world.is_rank0:
                next(results)
                results.close()
                return "closed"
            with pytest.raises(InputError) as caught:
                list(results)
            return str(caught.value)

    assert ranks(2, one_of_two) == ["closed", "the evaluation was stopped, because another process failed"]
