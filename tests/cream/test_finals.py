"""Paths that train alone for some steps before one of them is chosen."""

import pytest
import torch

from fewshot_nas.cli.settings import load
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.model import space_of
from fewshot_nas.cream.runs import CreamRun
from fewshot_nas.cream.search import finals_of
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot
from fewshot_nas.training.optimizer import plain_groups, set_rate, sgd

pytestmark = pytest.mark.numeric
PATHS = [(choice,) * 5 for choice in (0, 3)]


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return Supernet(one_shot(space_of({}, (1,) * 5, 224, 1)), 10)


def finals(steps):
    settings = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=32", "data.valid_images=20", "EPOCHS=3"]
    config = load(SearchConfig, None, [*settings, f"FINAL_STEPS={steps}", "CALIBRATION_IMAGES=16"])
    return finals_of(CreamRun(config, 16, World.alone(), True, print, config.held_images), config)


def test_paths_train_side_by_side_as_they_do_alone(supernet):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    together = finals(5).scores(supernet, PATHS)  # more steps than an epoch has
    assert [together[0]] == finals(5).scores(supernet, PATHS[:1])
    assert [together[1]] == finals(5).scores(supernet, PATHS[1:])
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_without_steps_they_have_the_supernet_s_weights(supernet):
    untrained, inputs = finals(0), finals(0).inputs
    network = extract(supernet, PATHS[0])
    calibrate(network, inputs.calibration_batches())
    assert untrained.scores(supernet, PATHS[:1])[0].prob == pytest.approx(measure(network, inputs).prob, rel=1e-4)


def test_the_steps_are_sgd_s_with_a_rate_that_falls_to_0(supernet):
    trained = finals(2)
    network = extract(supernet, PATHS[0]).to(memory_format=torch.channels_last)
    optimizer = sgd(plain_groups(network, trained.weight_decay), 0.9)
    batches = [batch for batch, _ in zip(trained.batches.epoch(3), range(2), strict=False)]
    for rate, (images, labels) in zip((0.05, 0.025), batches, strict=True):
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        pixels = normalize(images, trained.inputs.mean, trained.inputs.std)
        torch.nn.functional.cross_entropy(network(pixels), labels, label_smoothing=0.1).backward()
        optimizer.step()
    calibrate(network, trained.inputs.calibration_batches())
    expected = measure(network, trained.inputs)
    found = trained.scores(supernet, PATHS[:1])[0]
    assert found == expected  # the same operations in the same order
    assert found.prob != pytest.approx(finals(0).scores(supernet, PATHS[:1])[0].prob, rel=1e-2)
