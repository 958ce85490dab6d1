"""Validation after an epoch, candidates, and the state of a phase."""

import pytest
import torch

from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Accuracy, Inputs
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.space.pool import Entry, make_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.training import supernet_task
from fewshot_nas.training.draws import RandomArchs, Sampler, SpaceEnds
from fewshot_nas.training.step import Largest, SupernetStep
from fewshot_nas.training.supernet_task import SupernetTask, Validation, multipliers, parameter_groups, shared_scores
from fewshot_nas.training.task import Batch, sgd
from tests.rounding import assert_score_is_plain_but_for_rounding

PX8 = SPACES["px8"]


OPTIONS = PX8.pool_options
ALONE = World(0, 1, torch.device("cpu"))
POOL = make_pool(PX8, seed=0, size=5)
TRUTH = {arch_id: Entry(50.0 + number**2, arch) for number, (arch_id, arch) in enumerate(POOL.items())}


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(5, (24,), generator=generator)
    return Inputs(pixels[:16], 8, pixels[16:], labels, 10, (0.5,), (0.25,), torch.device("cpu"))


@pytest.fixture
def make(tmp_path, tiny, supernet, inputs):
    def task(*, truth=TRUTH, kept=2, every=1, epochs=4, world=ALONE):
        network = supernet(2)
        return SupernetTask(
            network=network,
            optimizer=sgd(parameter_groups(network, multipliers(by_width(tiny, 2), OPTIONS, "rule"), 0.0), 0.9),
            step=SupernetStep(Sampler(RandomArchs(PX8, 0, OPTIONS), SpaceEnds(PX8, 0, OPTIONS), 2), teacher=Largest()),
            world=world,
            options=OPTIONS,
            validation=Validation(inputs, truth, PhaseDirectory(tmp_path / "run"), kept, every, epochs),
        )

    return task


def test_the_truth_the_largest_and_the_smallest_are_scored(make):
    record = make().end_epoch(0)
    assert all(list(record[metric]) == ["largest", "smallest", *POOL] for metric in ("top1", "prob", "likelihood"))
    assert record["n"] == len(POOL)
    assert record["tau"].keys() == {"value", "low", "high", "error"}


def test_proxies_stand_beside_tau(make):
    deepest_last = sorted(POOL.items(), key=lambda item: sum(item[1][:4]))
    truth = {arch_id: Entry(float(sum(arch[:4])), arch) for arch_id, arch in deepest_last}
    assert make(truth=truth).end_epoch(0)["proxies"]["depth"] == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 2])
def test_two_archs_have_no_tau(make, count):
    record = make(truth=dict(list(TRUTH.items())[:count])).end_epoch(0)
    assert record.keys() == {"top1", "prob", "likelihood", "guessing", "metric"}


@pytest.mark.parametrize(("top1", "metric"), [(94.0, "likelihood"), (96.0, "prob")])
def test_tau_is_of_what_ranks_best(make, monkeypatch, top1, metric):
    """By mean probability the archs are in the truth's order, by likelihood in the opposite one."""
    names = ("largest", "smallest", *POOL)
    found = {name: Accuracy(top1, 100.0, place, 100 - place) for place, name in enumerate(names)}
    found |= {end: Accuracy(190 - top1, 100.0, 50.0, 50.0) for end in names[:2]}  # the truth's archs decide
    monkeypatch.setattr(supernet_task, "shared_scores", lambda *_: found)
    truth = {arch_id: Entry(float(place), arch) for place, (arch_id, arch) in enumerate(POOL.items())}
    record = make(truth=truth).end_epoch(0)
    assert (record["metric"], record["tau"]["value"]) == (metric, 1 if metric == "prob" else -1)


def test_every_image_counts_once(make, inputs):
    """Accuracies are multiples of one image's share, though 24 images are 10 + 10 + 4."""
    share = 100 / len(inputs.images)
    for top1 in make().end_epoch(0)["top1"].values():
        assert top1 / share == pytest.approx(round(top1 / share))


def test_epochs_between_are_not_measured(make):
    task = make(every=3, epochs=5)
    measured = [epoch for epoch in range(5) if task.end_epoch(epoch)]
    assert measured == [2, 4]
    assert [candidate.epoch for candidate in task.candidates] == [2, 4]


def test_only_candidates_stay_on_disk_once_the_state_knows(make, tmp_path, monkeypatch):
    task = make(truth={}, kept=2)
    for epoch in range(4):
        task.end_epoch(epoch)
        task.save(tmp_path / "run" / "last.pth", {})
    names = sorted(path.name for path in (tmp_path / "run").glob("*.pth"))
    assert names == ["epoch_2.pth", "epoch_3.pth", "last.pth"]
    assert task.file_of(task.chosen()).name == "epoch_3.pth"


def test_a_restored_task_has_weights_momentum_and_candidates(make, tmp_path, batch):
    one, other = make(), make()
    one.step.backward(one.network, Batch(*batch, 0))
    one.optimizer.step()
    one.end_epoch(0)
    one.save(tmp_path / "last.pth", {"more": 1})
    content = torch.load(tmp_path / "last.pth", weights_only=True)
    other.restore(content)
    assert content["more"] == 1
    assert other.candidates == one.candidates
    for task in (one, other):
        task.optimizer.zero_grad()
        task.step.backward(task.network, Batch(*batch, 1))
        task.optimizer.step()
    for mine, theirs in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_culprit_is_the_arch_of_the_step(make):
    task = make()
    assert task.step.culprit(task.network, 0, 0).startswith("the largest arch, 15585")
    assert task.step.culprit(task.network, 1, 3) != task.step.culprit(task.network, 1, 4)
    assert task.step.names == ("largest", "sampled1", "sampled2", "smallest")


@pytest.mark.dist
@pytest.mark.numeric
def test_ranks_share_the_archs_out(inputs, supernet, ranks):
    """Both ranks learn the scores that one alone would find, up to rounding: its work unit is cut in two."""

    def one_of_two():
        with joined("cpu") as world:
            return shared_scores(supernet(2), POOL, inputs, world)

    alone = shared_scores(supernet(2), POOL, inputs, ALONE)
    scores, same = ranks(2, one_of_two)
    assert scores == same
    assert list(scores) == list(alone)
    for arch_id, arch in POOL.items():
        for found in (scores[arch_id], alone[arch_id]):
            assert_score_is_plain_but_for_rounding(found, supernet(2), arch, inputs)
