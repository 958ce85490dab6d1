"""Paths that train alone for some steps before one of them is chosen."""

import pytest
import torch

from fewshot_nas.cli.settings import load
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.model import CreamSpace
from fewshot_nas.cream.searching import SearchRun, final_scores
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import normalize
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import calibrate, measure
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot
from fewshot_nas.training.loop import set_rate
from fewshot_nas.training.task import plain_groups, sgd

pytestmark = pytest.mark.numeric
PATHS = [(choice,) * 5 for choice in (0, 3)]


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return Supernet(one_shot(CreamSpace().of((1,) * 5, 224, 1)), 10)


def run_of(steps):
    settings = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=32", "data.valid_images=20", "EPOCHS=3"]
    config = load(SearchConfig, None, [*settings, f"FINAL_STEPS={steps}", "CALIBRATION_IMAGES=16"])
    return SearchRun(save="save", config=config, world=World.alone(), resume=True, report=print)


def scores(supernet, paths, steps):
    return final_scores(run_of(steps), supernet, paths)


def test_paths_train_side_by_side_as_they_do_alone(supernet):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    together = scores(supernet, PATHS, 5)  # more steps than an epoch has
    assert [together[0]] == scores(supernet, PATHS[:1], 5)
    assert [together[1]] == scores(supernet, PATHS[1:], 5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def inputs_of(run):
    return run.inputs(run.held)


def test_without_steps_they_have_the_supernet_s_weights(supernet):
    inputs = inputs_of(run_of(0))
    network = extract(supernet, PATHS[0])
    calibrate(network, inputs.calibration_batches())
    assert scores(supernet, PATHS[:1], 0)[0].prob == pytest.approx(measure(network, inputs).prob, rel=1e-4)


def test_the_steps_are_sgd_s_with_a_rate_that_falls_to_0(supernet):
    run = run_of(2)
    inputs, source = inputs_of(run), run.source("", 0.0)
    network = extract(supernet, PATHS[0]).to(memory_format=torch.channels_last)
    optimizer = sgd(plain_groups(network, run.config.WEIGHT_DECAY), 0.9)
    drawn = TrainBatches(source.images, source.transform, batch_size=8, seed=0).epoch(3)
    for rate, (images, labels) in zip((0.05, 0.025), drawn, strict=False):
        set_rate(optimizer, rate)
        optimizer.zero_grad()
        pixels = normalize(images, source.mean, source.std)
        torch.nn.functional.cross_entropy(network(pixels), labels, label_smoothing=0.1).backward()
        optimizer.step()
    calibrate(network, inputs.calibration_batches())
    (found,) = scores(supernet, PATHS[:1], 2)
    assert found == measure(network, inputs)  # the same operations in the same order
    assert found.prob != pytest.approx(scores(supernet, PATHS[:1], 0)[0].prob, rel=1e-2)
