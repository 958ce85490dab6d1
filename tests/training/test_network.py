"""A single network as the loop drives it: what is learnt, averaged and measured."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewshot_nas.cream.retraining import averaged
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.training.task import Batch, Learning, NetworkTask

LABELS = torch.tensor([0, 0, 0, 1])


@pytest.fixture
def task():
    """A linear network and its average, which forgets half at each step; the second epoch is validated."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, optimizer = torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.optim.SGD(network.parameters(), lr=0.1)
    return NetworkTask(
        network=network,
        optimizer=optimizer,
        step=Learning(0.3, "fp32"),
        valid=Inputs(images[:0], 2, images, LABELS, 2, (0.5,), (0.2,), torch.device("cpu")),
        calibrates=False,
        due={1},
        average=averaged(network, optimizer, 0.5),
        measured_as="ema",
    )


def test_labels_are_smoothed(task):
    images = torch.randn(4, 1, 2, 2)
    expected = F.cross_entropy(task.network(images), LABELS, label_smoothing=0.3)
    trained = task.step.backward(task.network, Batch(images, LABELS, 0))
    torch.testing.assert_close(trained.numbers, expected.detach()[None])


def test_the_average_follows_each_step(task):
    before = task.network[1].weight.detach().clone()
    task.step.backward(task.network, Batch(torch.randn(4, 1, 2, 2), LABELS, 0))
    task.optimizer.step()
    after = task.network[1].weight.detach()
    assert not torch.equal(after, before)
    torch.testing.assert_close(task.average[1].weight, (before + after) / 2)


def test_the_average_is_validated_when_due(task):
    with torch.no_grad():
        task.network[1].bias.copy_(torch.tensor([0.0, 1e3]))
        task.average[1].bias.copy_(torch.tensor([1e3, 0.0]))
    assert task.end_epoch(0) == {}
    assert task.end_epoch(1)["top1"] == {"ema": 75.0}


def test_calibration_images_give_the_average_its_statistics(task):
    images = torch.full((4, 1, 2, 2), 255, dtype=torch.uint8)
    changed = {"average": nn.Sequential(nn.BatchNorm2d(1), task.network), "calibrates": True}
    task = replace(task, **changed, valid=replace(task.valid, calibration=images))
    task.end_epoch(1)
    assert task.average[0].running_mean.tolist() == [2.5]  # (1 - 0.5) / 0.2


def test_without_an_average_the_network_is_measured(task):
    with torch.no_grad():
        task.network[1].bias.copy_(torch.tensor([0.0, 1e3]))
    assert replace(task, average=None).measured() == [25.0]
