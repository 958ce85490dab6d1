"""The scores of untrained networks."""

import math

import pytest
import torch

from fewshot_nas.scoring import scorer
from studies.cifar10_truths.baselines import Untrained, naswot, of_slices, scores, synflow, zen
from studies.cifar10_truths.run import space_of


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_wider_networks_score_higher(images):
    space = space_of("channel_mobilenet")
    wide, narrow = (scores(space, space.decode(key), images) for key in ("4444444", "1111111"))
    assert all(one > other for one, other in zip(wide, narrow, strict=True))


def test_images_that_are_alike_have_like_patterns(images):
    space = space_of("macro")
    network = Untrained(space, space.decode("11111111"), 0)
    assert math.isfinite(naswot(network, images))
    assert naswot(network, images) > naswot(network, images[:1] + 0.01 * images)


def test_each_layer_multiplies_the_synaptic_flow(images):
    space = space_of("channel_resnet")
    network = Untrained(space, space.decode("1111111"), 0)
    before = synflow(network, images)
    with torch.no_grad():
        network.head.linear.weight.mul_(2)
    network.zero_grad()
    assert synflow(network, images) == pytest.approx(before + math.log(2), abs=1e-6)


def test_the_zen_score_does_not_depend_on_the_scale_of_the_weights(images):
    space = space_of("channel_resnet")
    network = Untrained(space, space.decode("2222222"), 0, shortcuts=False)
    before = zen(network, images)
    with torch.no_grad():
        for parameter in network.blocks.parameters():
            if parameter.ndim == 4:
                parameter.mul_(3)
    depth = len(network.norms)
    assert zen(network, images) == pytest.approx(before + depth * math.log(3), abs=0.05)


def test_slices_of_one_untrained_supernet_are_scored_as_rank_does(images):
    space = space_of("macro")
    arch = space.decode("11111111")
    (found,) = of_slices(space, images)(arch)
    assert found == scorer.naswot(scorer.untrained(space, 0), arch, images)
    assert found != naswot(Untrained(space, arch, 0), images)
