"""The epoch loop on a toy: one linear layer, so that ranks, resuming and faults are all there is."""

import io
import json
import math
import os
import random
import re
import sys
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.transforms import CentreCrop
from fewshot_nas.distributed import World, joined
from fewshot_nas.records.files import replacing
from fewshot_nas.training import loop as under_test
from fewshot_nas.training.log import RunLog
from fewshot_nas.training.loop import Loop, Schedule
from fewshot_nas.training.task import Source, Task, Trained, plain_groups, sgd

ALONE = World(0, 1, torch.device("cpu"))
IMAGES = ArrayImages(
    torch.randint(256, (26, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    torch.arange(26) % 3,
)
SOURCE = Source(IMAGES, CentreCrop(4, 4), (0.5,), (0.25,))
SCHEDULE = Schedule(epochs=3, warmup_epochs=1, batch_size=8, lr=0.1, clip_value=1.0, seed=5, checkpoint_steps=2)


class ToyStep:
    """With dropout."""

    names = ("toy",)

    def __init__(self, dropout, bad_step):
        self.dropout, self.bad_step = dropout, bad_step

    def backward(self, network, batch):
        loss = F.cross_entropy(network(F.dropout(batch.images.flatten(1), self.dropout)), batch.labels)
        loss.backward()
        return Trained(loss.detach()[None] * (math.inf if batch.step == self.bad_step else 1))

    def culprit(self, network, loss, step):
        return "the toy"


class Toy(Task):
    """A linear classifier, for `Loop`."""

    def __init__(self, dropout=0.5, bad_step=None):
        torch.manual_seed(0)
        network = nn.Linear(16, 3)
        super().__init__(
            network=network, optimizer=sgd(plain_groups(network, 0.01), 0.9), step=ToyStep(dropout, bad_step)
        )
        self.ended = []

    def end_epoch(self, epoch):
        self.ended.append(epoch)
        return {}

    def save(self, path, state):
        with replacing(path) as stream:
            content = {"model": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), **state}
            torch.save(content, stream)

    def restore(self, content):
        self.network.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])


def make(directory, *, task=None, schedule=SCHEDULE, world=ALONE, report=lambda line: None):
    log = RunLog(directory / "log.jsonl", directory / "events")
    return Loop(task or Toy(), SOURCE, schedule, directory / "last.pth", log, world, report)


def train(directory, **parts):
    loop = make(directory, **parts)
    with loop.log:
        loop.resume()
        loop.run()
    return loop


def records(directory):
    found = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "time"} for record in found]


@pytest.mark.parametrize("chance", range(4))
def test_a_killed_run_ends_as_an_unbroken_one(tmp_path, killed, kill_me, monkeypatch, chance):
    """Bit by bit, though it is killed twice, at random steps or while it writes its state."""
    unbroken = train(tmp_path / "unbroken")
    rng = random.Random(chance)
    for _ in range(2):
        steps, while_saving = rng.randrange(1, 5), rng.random() < 0.5
        killed(lambda: train_until(tmp_path / "killed", steps, while_saving, kill_me))  # noqa: B023
    resumed = train(tmp_path / "killed")
    for mine, theirs in zip(resumed.task.network.parameters(), unbroken.task.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert records(tmp_path / "killed") == records(tmp_path / "unbroken")


def train_until(directory, steps, while_saving, kill_me):
    """Die after some steps, either at once or in the middle of the next checkpoint."""
    loop = make(directory)
    loop.resume()
    backward, last = loop.task.step.backward, loop.step + steps

    def dying_backward(network, batch):
        if batch.step >= last:
            if not while_saving:
                kill_me()
            os.fsync = lambda stream: kill_me()  # the state is written, but has not its name yet
        return backward(network, batch)

    loop.task.step.backward = dying_backward
    loop.run()


def test_a_resumed_run_does_not_repeat_what_was_done(tmp_path):
    train(tmp_path)
    again = train(tmp_path)
    assert again.step == again.steps == 9
    assert again.task.ended == []


@pytest.mark.dist
def test_two_ranks_equal_one_on_the_joined_batch(tmp_path, ranks):
    alone = train(tmp_path / "alone", task=Toy(dropout=0), schedule=schedule(batch_size=8))

    def one_of_two():
        with joined("cpu") as world:
            directory = tmp_path / f"rank{world.rank}_files"
            loop = train(directory, task=Toy(dropout=0), schedule=schedule(batch_size=8), world=world)
            return [parameter.tolist() for parameter in loop.task.network.parameters()]

    first, second = ranks(2, one_of_two)
    assert first == second
    for parameter, found in zip(alone.task.network.parameters(), first, strict=True):
        torch.testing.assert_close(torch.tensor(found), parameter.detach())
    losses = [[record["loss"]["toy"] for record in records(tmp_path / name)] for name in ("alone", "rank0_files")]
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.dist
def test_only_rank_0_writes_and_speaks(tmp_path, ranks):
    def one_of_two():
        with joined("cpu") as world:
            lines = []
            directory = tmp_path / f"rank{world.rank}_files"
            train(directory, schedule=schedule(batch_size=8), world=world, report=lines.append)
            return len(lines), directory.exists()

    assert ranks(2, one_of_two) == [(3, True), (0, False)]


@pytest.mark.dist
def test_a_loss_that_is_not_finite_stops_all_ranks(tmp_path, ranks):
    def one_of_two():
        with joined("cpu") as world:
            task = Toy(bad_step=3 if world.rank == 1 else None)
            try:
                train(tmp_path / "files", task=task, schedule=schedule(batch_size=8), world=world)
            except InputError as error:
                return str(error)

    first, second = ranks(2, one_of_two)
    assert first == second
    assert "the loss of the toy is inf at step 3" in first


def schedule(**changes):
    return Schedule(**{**vars(SCHEDULE), **changes})


def test_a_loss_that_is_not_finite_keeps_the_last_good_state(tmp_path):
    with pytest.raises(InputError, match=r"the loss of the toy is inf at step 5; .*last.pth has the last good state"):
        train(tmp_path, task=Toy(bad_step=5))
    state = torch.load(tmp_path / "last.pth", weights_only=True)
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """A gradient may be nan where the loss is not."""
    task = Toy()
    task.network.weight.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(InputError, match="weights are no longer finite after step 0; no state had been written yet"):
        train(tmp_path, task=task, schedule=schedule(checkpoint_steps=1))
    assert not (tmp_path / "last.pth").exists()


@pytest.mark.parametrize("content", [{}, {"step": 3}, {"model": 1, "optimizer": {}, "step": 1}, [1]])
def test_a_state_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(InputError, match=r"last.pth: (is not the state of this run|holds a list)"):
        train(tmp_path)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "last.pth").write_bytes(b"PK\3\4 no more")
    with pytest.raises(InputError, match=r"last.pth: cannot be read as a checkpoint"):
        train(tmp_path)


def test_an_epoch_is_reported(tmp_path):
    lines = []
    train(tmp_path, report=lines.append)
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3; loss ")
    assert "images/s" in lines[0]
    assert "% of it waiting for data" in lines[0]
    assert re.search(r"; about \d+ s left$", lines[0])
    assert "left" not in lines[2]


def test_after_ten_steps_a_long_training_says_how_long_it_takes(tmp_path):
    lines = []
    train(tmp_path, schedule=schedule(batch_size=2), report=lines.append)
    assert re.fullmatch(r"step 10 of 39: about \d+ s left, without validations", lines[0])
    assert len(lines) == 4


def test_the_log_tells_loss_rate_and_time(tmp_path):
    train(tmp_path)
    (record, *_) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert record.keys() == {"epoch", "step", "lr", "loss", "time"}
    assert record["time"].keys() == {"s", "images_per_s", "data_wait_percent"}
    assert (record["epoch"], record["step"]) == (0, 3)


def test_gradients_are_clipped(tmp_path):
    largest = []
    task = Toy()
    real = task.optimizer.step
    task.optimizer.step = lambda: (largest.append(task.network.weight.grad.abs().max().item()), real())
    train(tmp_path, task=task, schedule=schedule(clip_value=0.01))
    assert max(largest) == pytest.approx(0.01)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "rank", "shown"), [(Terminal(), 0, True), (Terminal(), 1, False), (io.StringIO(), 0, False)]
)
def test_a_bar_is_for_the_terminal_of_rank_0(tmp_path, monkeypatch, stream, rank, shown):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(under_test, "fail_together", lambda world: nullcontext())
    monkeypatch.setattr(under_test, "on_rank0", lambda world, decide: decide())
    monkeypatch.setattr(under_test, "gathered", lambda value, world: [value])
    monkeypatch.setattr(under_test, "GradientMean", lambda world: lambda parameters, losses: losses)
    train(tmp_path, schedule=schedule(batch_size=8), world=World(rank, 2, torch.device("cpu")))
    assert bool(stream.getvalue()) == shown


def test_the_bar_shows_rate_loss_learning_rate_and_time_left(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    task = Toy()
    backward = task.step.backward
    task.step.backward = lambda *inputs: time.sleep(0.12) or backward(*inputs)  # a bar moves ten times a second
    train(tmp_path, task=task, schedule=schedule(epochs=1))
    last = [shown for shown in sys.stderr.getvalue().split("\r") if "24/24" in shown][-1]
    assert re.search(r"epoch 1/1: 100%.* 24/24 \[00:00<00:00, [\d.]+ images/s, loss [\d.]+, lr [\d.e-]+\]", last)


@pytest.mark.dist
def test_a_rank_that_reads_another_state_is_refused(tmp_path, ranks):
    """As on a network's disk where one process still sees the file of before."""
    for name, epochs in (("new", 2), ("old", 1)):
        train(tmp_path / name, schedule=replace(SCHEDULE, epochs=epochs))

    def one_of_two():
        with joined("cpu") as world:
            loop = make(tmp_path / ("old" if world.rank else "new"), world=world)
            with pytest.raises(InputError, match=r"process 1 reads step 3 with weights .*, process 0 reads step 6"):
                loop.resume()

    ranks(2, one_of_two)


@pytest.mark.dist
def test_rank_0_says_whether_there_is_a_state(tmp_path, ranks):
    """A process that does not see the file fails, and all with it; none begins at the beginning by itself."""
    train(tmp_path / "here", schedule=replace(SCHEDULE, epochs=1))

    def one_of_two():
        with joined("cpu") as world:
            loop = make(tmp_path / ("elsewhere" if world.rank else "here"), world=world)
            with pytest.raises(InputError, match=r"elsewhere/last\.pth: no such file"):
                loop.resume()

    ranks(2, one_of_two)


@pytest.mark.dist
def test_a_full_disk_on_rank_0_ends_all(tmp_path, ranks):
    def one_of_two():
        with joined("cpu") as world:
            loop = make(tmp_path, world=world)
            loop.task.save = full_disk
            with pytest.raises(InputError, match="no space left"):
                loop.run()

    ranks(2, one_of_two)


def full_disk(*_):
    raise InputError("last.pth: cannot be written (no space left)")
