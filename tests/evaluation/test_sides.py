"""Subnets of a supernet's last channels: what they compute, how they learn, and how they are scored."""

import random
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.naive import score_plainly
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.sides import mirrored, trailing
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import one_shot, shared
from fewshot_nas.test import main as score
from fewshot_nas.train_few_shot import main as train_few_shot
from fewshot_nas.train_supernet import main as train_supernet
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Batch
from tests.kinds import ALL, CHANNELS, CHOICES, MBCONV, named

pytestmark = pytest.mark.numeric


def supernet_of(split):
    supernet = Supernet(split, num_classes=10)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    return supernet


def images_of(space, count=6):
    return torch.randn(count, space.in_channels, space.resolution, space.resolution)


@pytest.mark.parametrize("split", [*map(one_shot, ALL), shared(CHOICES), shared(MBCONV)], ids=named)
def test_the_first_channels_of_a_mirrored_supernet_are_the_last_ones(split):
    space, supernet = split.space, supernet_of(split)
    other, images = mirrored(supernet), images_of(space)
    for seed in range(6):
        arch = random_arch(space, random.Random(seed), space.all_options)
        expected = run_subnet(supernet.tensors(arch, trailing), images)
        torch.testing.assert_close(other(images, arch), expected, rtol=1e-3, atol=1e-3)
    again = dict(mirrored(other).named_parameters())
    assert all(torch.equal(again[name], each) for name, each in supernet.named_parameters())


def test_every_other_arch_of_a_step_learns_with_the_last_channels():
    supernet, images = supernet_of(one_shot(CHANNELS)), images_of(CHANNELS)
    labels = torch.arange(len(images)) % 10
    archs = [random_arch(CHANNELS, random.Random(seed), CHANNELS.all_options) for seed in range(4)]
    for number, view in zip((5, 6), ((1, 0, 1, 0), (0, 1, 0, 1)), strict=True):
        one, other = supernet_of(one_shot(CHANNELS)), supernet_of(one_shot(CHANNELS))
        for each in (one, other):
            each.load_state_dict(supernet.state_dict())
        one.two_sided = True
        SupernetStep(SimpleNamespace(archs=lambda step: archs)).backward(one, Batch(images, labels, number))
        for arch, last in zip(archs, view, strict=True):
            weights = other.tensors(arch, trailing) if last else other.tensors(arch)
            F.cross_entropy(run_subnet(weights, images), labels).backward()
        for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_a_score_is_the_mean_of_both_sides(inputs):
    supernet = supernet_of(one_shot(CHANNELS))
    archs = [random_arch(CHANNELS, random.Random(seed), CHANNELS.all_options) for seed in range(5)]
    first, last = (Scorer(each, inputs).scores(archs) for each in (supernet, mirrored(supernet)))
    supernet.two_sided = True
    for found in (Scorer(supernet, inputs).scores(archs), score_plainly(supernet, archs, inputs)):
        for mean, one, other in zip(found, first, last, strict=True):
            assert mean.top1 == pytest.approx((one.top1 + other.top1) / 2, abs=2)
            assert mean.prob == pytest.approx((one.prob + other.prob) / 2, rel=1e-3)
            assert mean.likelihood == pytest.approx((one.likelihood * other.likelihood) ** 0.5, rel=1e-3)


def test_a_run_of_two_sides_is_scored_and_trained_on_but_not_split(workshop, small, capsys):
    train_supernet(["--save=one", *small, "training.two_sided=true"])
    path = workshop / "results" / "one" / "supernet.pth"
    assert load_supernet(path).two_sided
    score(["--save=one", "--sample=20"])
    assert "images, each by both sides, instead of" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"a supernet of two sides cannot be split.*--split_by=none trains it on"):
        train_few_shot(["--save=one", "--group_nums=2", *small])
    train_few_shot(["--save=one", "--split_by=none", f"--pretrained_path={path}", *small])
    assert load_supernet(workshop / "results" / "one" / "on" / "supernet.pth").two_sided
