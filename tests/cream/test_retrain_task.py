"""A retraining as the loop drives it: what is learnt, averaged and validated."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from fewshot_nas.cream.retrain_task import RetrainTask
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.training.loop import Batch

LABELS = torch.tensor([0, 0, 0, 1])


@pytest.fixture
def task():
    """A linear network, of which half is forgotten at each step; the second epoch is validated."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    return RetrainTask(
        network,
        ModelEmaV3(network, decay=0.5),
        torch.optim.SGD(network.parameters(), lr=0.1),
        Inputs(images[:0], 2, images, LABELS, 2, (0.5,), (0.2,), torch.device("cpu")),
        frozenset({1}),
        smoothing=0.3,
    )


def test_labels_are_smoothed(task):
    images = torch.randn(4, 1, 2, 2)
    expected = F.cross_entropy(task.network(images), LABELS, label_smoothing=0.3)
    torch.testing.assert_close(task.backward(Batch(images, LABELS, 0)).numbers, expected.detach()[None])


def test_the_average_follows_each_step(task):
    before = task.network[1].weight.detach().clone()
    task.backward(Batch(torch.randn(4, 1, 2, 2), LABELS, 0))
    task.optimizer.step()
    after = task.network[1].weight.detach()
    assert not torch.equal(after, before)
    torch.testing.assert_close(task.average.module[1].weight, (before + after) / 2)


def test_the_average_is_validated_when_due(task):
    with torch.no_grad():
        task.network[1].bias.copy_(torch.tensor([0.0, 1e3]))
        task.average.module[1].bias.copy_(torch.tensor([1e3, 0.0]))
    assert task.end_epoch(0) == {}
    assert task.end_epoch(1)["top1"] == {"ema": 75.0}


def test_calibration_images_give_the_average_its_statistics(task):
    task.average = ModelEmaV3(nn.Sequential(nn.BatchNorm2d(1), task.network))
    images = torch.full((4, 1, 2, 2), 255, dtype=torch.uint8)
    task.inputs = replace(task.inputs, calibration=images)
    task.end_epoch(1)
    assert task.average.module[0].running_mean.tolist() == [2.5]  # (1 - 0.5) / 0.2
