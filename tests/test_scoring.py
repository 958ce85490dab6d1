"""How a scorer is built from settings."""

import pytest
import torch

from fewshot_nas.config import load_config
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.executors import Local
from fewshot_nas.models.subnet import blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.running.images import open_images
from fewshot_nas.scoring.scorer import scorer_for
from fewshot_nas.space.split import by_width


@pytest.mark.parametrize(
    ("device", "executor", "settings", "at_once"),
    [
        ("cpu", None, [], 128),
        ("meta", None, [], 1024),
        ("meta", None, ["evaluation.batch_size=32"], 32),
        ("meta", Local(), [], 128),  # whose memory is not known
    ],
)
def test_a_gpu_scores_more_images_at_a_time(device, executor, settings, at_once):
    config = load_config(None, settings)
    space = config.space.build()
    data, supernet = open_images(config, space), blueprint(lambda: Supernet(by_width(space, 1), 10))
    world = World(0, 1, torch.device(device))
    assert (
        scorer_for(config, "a.pth", supernet, data, data.test, world, executor, computes=False).inputs.batch == at_once
    )
