"""What a training step asks of a device: how many operations, and never to wait for a result."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.distributed import World
from fewshot_nas.training.loop import Loop, Schedule
from fewshot_nas.training.task import Learning, Source, plain_groups

IMAGES = ArrayImages(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 5)
SOURCE = Source(IMAGES, train_transform("shift", 8), (0.5,), (0.25,))
SCHEDULE = Schedule(epochs=9, warmup_epochs=1, batch_size=4, lr=0.1, clip_value=1.0, seed=0, checkpoint_steps=1000)


@pytest.fixture
def benchmark(monkeypatch):
    """The modules of `benchmarks/`, which have the straightforward step and the counter."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import counting
    import train_step

    return train_step, counting


def loop_of(task, tmp_path, device="cpu"):
    return Loop(task, SOURCE, SCHEDULE, tmp_path / "last.pth", None, World(0, 1, torch.device(device)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_has_fewer_operations_than_the_straightforward_one(benchmark, tiny, tmp_path, monkeypatch, precision):
    """The loop's whole step, against forward, backward and optimizer alone."""
    monkeypatch.setattr("fewshot_nas.training.gradients._CHANNELS_PER_PIXEL", 1e9)  # as on a GPU
    train_step, counting = benchmark
    loop = loop_of(train_step.Ours(tiny, 5, precision), tmp_path)
    plain = train_step.Straightforward(tiny, 5, precision)
    batch = IMAGES.array[:4], IMAGES.labels[:4]
    ours, theirs = [], []
    for number in range(3):
        ours.append(counting.operations(lambda: loop._train_on(*batch)).total())
        inputs = torch.zeros(4, 1, 8, 8)
        theirs.append(counting.operations(lambda: plain(inputs, batch[1], number)).total())  # noqa: B023
    assert all(mine < 0.8 * their for mine, their in zip(ours[1:], theirs[1:], strict=True)), (ours, theirs)


class Alone:
    """A convolution with its norm, trained alone, for `Loop`."""

    step = Learning(0.1, "fp32")

    def __init__(self):
        layers = [torch.nn.Conv2d(1, 4, 3, 2), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(36, 5)]
        self.network = torch.nn.Sequential(*layers)

    def after_backward(self, batch, trained, means):
        pass


@pytest.mark.parametrize("kind", ["supernet", "alone"])
def test_no_step_waits_for_the_device(benchmark, tiny, tmp_path, monkeypatch, kind):
    """On `meta`, tensors have no values: whoever asks for one, or copies one to the processor, fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know this device
    train_step, _ = benchmark
    task = train_step.Ours(tiny, 5, "fp32") if kind == "supernet" else Alone()
    task.network.to("meta")
    task.optimizer = torch.optim.SGD(plain_groups(task.network, 0.1), 0.1, momentum=0.9, foreach=True)
    loop = loop_of(task, tmp_path, "meta")
    for _ in range(2):
        loop._train_on(IMAGES.array[:4], IMAGES.labels[:4])
    with pytest.raises(NotImplementedError, match="no data"):
        loop._check_losses()
