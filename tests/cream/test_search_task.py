"""A search as the loop drives it: who is trained, when the matching network learns, what the board hears."""

import random
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.distributed as dist

from fewshot_nas.cream import teaching
from fewshot_nas.cream.board import Board, ByBatch
from fewshot_nas.cream.flops import UNIFORM, Budget
from fewshot_nas.cream.model import CreamSpace
from fewshot_nas.cream.searching import SearchTask
from fewshot_nas.cream.teaching import BoardTeacher, Matching, PathSampler, PathStep, guide
from fewshot_nas.distributed import World, joined
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot, shared
from fewshot_nas.training.gradients import GradientMean
from fewshot_nas.training.loop import set_rate
from fewshot_nas.training.step import Regularization
from fewshot_nas.training.task import Batch, plain_groups, sgd

RATE = 0.1
BUDGET = Budget(CreamSpace().of((1, 2, 1, 1, 1), 224), 0, 1000)


@pytest.fixture
def task(supernet, batch, tmp_path):
    """Teaches from the second epoch on, of two steps each."""
    torch.manual_seed(0)
    images = (batch[0] * 40 + 128).clamp(0, 255).to(torch.uint8)
    cpu = torch.device("cpu")
    return SearchTask(
        network=supernet,
        optimizer_of=lambda network: sgd(plain_groups(network, 1e-4), 0.9),
        **parts(World.alone(), Board(3), update_every=2),
        inputs=Inputs(images, 4, images, batch[1], 4, (0.5,), (0.2,), cpu),
        due=frozenset({1}),
        board_file=tmp_path / "board.json",
    )


def parts(world, board, first=0, **settings):
    """Who is drawn, who teaches, and who comes onto the board."""
    matching, sampler, keeping = Matching(2, 5), PathSampler(0, BUDGET), ByBatch(board, BUDGET, 2, world, first=first)
    optimizer = torch.optim.Adam(matching.parameters(), 0.01)
    own = {"per_epoch": 2, "rate": lambda step: RATE, "world": world, "start_epoch": 1, "slice": 2}
    teacher = BoardTeacher(keeping=keeping, matching=matching, optimizer=optimizer, **own, **settings)
    step = PathStep(sampler=sampler, teacher=teacher, regularization=Regularization(0.1))
    return {"world": world, "step": step}


def step(task, batch, number):
    """What `Loop` does."""
    task.optimizer.zero_grad(set_to_none=True)
    given = Batch(*batch, number)
    trained = task.step.backward(task.network, given)
    task.after_backward(given, trained, GradientMean(task.world)(task.network.parameters(), trained.numbers))
    set_rate(task.optimizer, RATE)
    task.optimizer.step()


def test_weights_and_momentum_of_other_paths_stay(task, batch):
    step(task, batch, 0)
    momentum = {name: task.optimizer.state[each]["momentum_buffer"] for name, each in task.network.named_parameters()}
    before = {name: (each.clone(), momentum[name].clone()) for name, each in task.network.named_parameters()}
    step(task, batch, 1)
    moved, stayed = [], []
    for name, parameter in task.network.named_parameters():
        same = torch.equal(parameter, before[name][0]) and torch.equal(momentum[name], before[name][1])
        (stayed if same else moved).append(name)
    chosen = {f"{place}_{choice}" for place, choice in enumerate(task.step.sampler.archs(1)[0], start=2)}
    common = {"0_0", "1_0", "8_0"}  # stem, separable block, last convolution
    assert {name.split(".")[1] for name in moved if name.startswith("blocks")} == chosen | common
    assert not any(name.startswith("heads") for name in stayed)


@pytest.mark.parametrize(("number", "learns"), [(0, False), (1, False), (2, True), (3, False), (4, True)])
def test_the_matching_network_learns_at_its_steps_only(task, batch, number, learns):
    for each in (0, 1):
        step(task, batch, each)
    before = task.step.teacher.matching.linear.weight.clone()
    step(task, batch, number)
    assert torch.equal(task.step.teacher.matching.linear.weight, before) != learns


@pytest.mark.parametrize(("every", "choices"), [(1, [0, 0, 1, 1, 1, 1]), (2, [0, 0, 1, 0, 1, 0])])
def test_a_teacher_is_chosen_at_its_steps_and_once_only(task, batch, monkeypatch, every, choices):
    """The meta update of every second step takes the teacher that the path has."""
    asked = []
    monkeypatch.setattr(teaching, "guide", lambda *given: (asked.append(given), guide(*given))[1])
    task.step = replace(task.step, teacher=replace(task.step.teacher, every=every))
    for number, expected in enumerate(choices):
        step(task, batch, number)
        assert len(asked) == expected
        asked.clear()


def test_the_board_hears_of_each_step_in_percent_and_mflops(task, batch):
    step(task, batch, 0)
    entry = task.best()
    assert len(task.keeping.board) == 1
    assert entry.candidate == task.step.sampler.archs(0)[0]
    assert entry.accuracy in [100 * right / 8 for right in range(9)]
    assert entry.cost == BUDGET.mflops(entry.candidate)
    assert torch.equal(entry.images, batch[0][:2])
    torch.testing.assert_close(entry.softmax.sum(1), torch.ones(2))


@pytest.mark.dist
def test_a_step_of_two_ranks_has_one_reduction_and_sends_accepted_entries_only(task, batch, ranks, monkeypatch):
    calls = []
    for name in ("all_reduce", "broadcast", "all_gather", "all_gather_object", "broadcast_object_list"):
        counted = partial(lambda real, name, *given, **more: (calls.append(name), real(*given, **more))[1])
        monkeypatch.setattr(dist, name, partial(counted, getattr(dist, name), name))

    def one_of_two():
        with joined("cpu") as world:
            mine = replace(task, **parts(world, Board(1, gap=20), update_every=100))
            own, found = (batch[0] + world.rank, batch[1]), []
            for number in range(8):
                calls.clear()
                step(mine, own, number)
                entries = [(each.candidate, each.accuracy, each.images.tolist()) for each in mine.keeping.board.entries]
                found.append((list(calls), entries))
            return found

    first, second = ranks(2, one_of_two)
    assert first == second
    assert [calls for calls, _ in first[:2]] == [["all_reduce"]] * 2  # nobody is taught
    accepted = [
        bool(entries) and entries[0][0] == task.step.sampler.archs(n - 1)[0] for n, (_, entries) in enumerate(first)
    ]
    accepted[2] = True  # or the path of the step before
    assert {*accepted[2:]} == {True, False}
    for number, (calls, entries) in enumerate(first[2:], start=2):
        learns = number % 2 == 0  # the first batch of an epoch
        assert calls == ["broadcast"] * (accepted[number] + 2 * learns) + ["all_reduce"] * (1 + learns)
        assert entries[0][2] == batch[0][:2].tolist()  # rank 0's


def test_no_step_waits_for_the_device_while_nobody_is_taught(task, batch, monkeypatch):
    """On `meta`, tensors have no values: whoever asks for one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know this device
    task.network.to("meta")
    task.optimizer = torch.optim.SGD(plain_groups(task.network, 0.0), 0.1)
    for number in (0, 1):
        step(task, [tensor.to("meta") for tensor in batch], number)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        task.best()


def test_what_was_saved_is_taken_up(task, batch, tmp_path):
    for number in range(3):
        step(task, batch, number)
    task.save(tmp_path / "last.pth", {"step": 3})
    kept = [parameter.clone() for parameter in (*task.network.parameters(), *task.step.teacher.matching.parameters())]
    board = task.keeping.board.entries
    step(task, batch, 3)
    task.restore(torch.load(tmp_path / "last.pth", weights_only=True))
    for parameter, old in zip(
        (*task.network.parameters(), *task.step.teacher.matching.parameters()), kept, strict=True
    ):
        assert torch.equal(parameter, old)
    assert [entry.candidate for entry in task.keeping.board.entries] == [entry.candidate for entry in board]


def test_validation_changes_nothing(task, batch):
    step(task, batch, 0)
    before = {name: tensor.clone() for name, tensor in task.network.state_dict().items()}
    record = task.end_epoch(1)
    assert 0 <= record["top1"]["best"] <= 100
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.network.state_dict().items())


def test_a_path_is_validated_with_statistics_of_its_own(task):
    (path,) = task.step.sampler.archs(0)
    child = extract(task.network, path)
    calibrate(child, task.inputs.calibration_batches())
    assert task.validated(path).prob == pytest.approx(measure(child, task.inputs).prob, rel=1e-4)


def test_only_due_epochs_are_validated(task, batch):
    step(task, batch, 0)
    assert "top1" not in task.end_epoch(0)
    assert task.board_file.exists()


def test_a_step_draws_its_path_from_seed_and_number_alone():
    paths = [PathSampler(3, BUDGET).archs(step)[0] for step in range(20)]
    random.seed(1)
    assert [PathSampler(3, BUDGET).archs(step)[0] for step in reversed(range(20))] == paths[::-1]
    assert len(set(paths)) > 15
    assert [PathSampler(4, BUDGET).archs(step)[0] for step in range(20)] != paths


def test_choices_share_weights_at_first_and_then_have_their_own(task, batch, tmp_path):
    shared_net = Supernet(shared(task.network.space), 5)
    task = replace(task, network=shared_net, shared_epochs=1, **parts(World.alone(), Board(3), first=2))
    own = shared_net.stored((2, 0)).main[2].conv.weight
    first = own.clone()
    for number in range(2):
        step(task, batch, number)
        assert len(task.keeping.board) == 0  # nobody is compared yet
    assert not torch.equal(own, first)
    task.end_epoch(0)
    assert task.network.split == one_shot(task.network.space)
    blocks = [task.network.stored((2, choice)).main[2].conv.weight for choice in range(6)]
    assert all(torch.equal(each, own[:, : each.shape[1]]) for each in blocks)
    assert not any(task.optimizer.state[each]["momentum_buffer"].any() for each in blocks)
    task.save(tmp_path / "last.pth", {"step": 2})
    resumed = replace(task, network=Supernet(shared(task.network.space), 5))
    resumed.restore(torch.load(tmp_path / "last.pth", weights_only=True))
    assert resumed.network.split == one_shot(task.network.space)
    step(task, batch, 2)
    task.keeping.apply_pending()
    assert len(task.keeping.board) == 1
    kept = blocks[4].clone()
    with torch.no_grad():
        blocks[-1].zero_()
    task.step.backward(task.network, Batch(*batch, 3))
    assert torch.equal(blocks[4], kept)


def test_an_empty_board_is_written_down_too(task):
    record = task.end_epoch(1)
    assert record == {"board": {"paths": 0, "measure": "batch_top1", "entries": []}}


def test_the_prior_can_be_given_up():
    def share(sampler):
        """Of the choice that the prior likes best."""
        drawn = [choice for step in range(300) for choice in sampler.archs(step)[0]]
        return drawn.count(3) / len(drawn)

    assert share(PathSampler(0, BUDGET)) == pytest.approx(1 / 2, abs=0.04)
    assert share(PathSampler(0, BUDGET, UNIFORM)) == pytest.approx(1 / 6, abs=0.04)
