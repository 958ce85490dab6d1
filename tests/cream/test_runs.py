"""What a Cream training works with."""

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import load
from fewshot_nas.cream.config import SearchConfig
from fewshot_nas.cream.runs import scoring_inputs
from fewshot_nas.cream.searching import SearchRun
from fewshot_nas.distributed import World


def run_of(settings, world=None):
    config = load(SearchConfig, None, settings)
    return SearchRun(save="save", config=config, world=world or World.alone(), resume=False, report=print)


@pytest.mark.parametrize(
    ("asked", "batches"), [(0, []), (3, [3]), (8, [8]), (9, [9]), (23, [8, 8, 7]), (99, [8, 8, 9])]
)
def test_calibration_has_no_batch_of_one_image(tmp_path, asked, batches):
    """It would have no statistics where networks see it as a single pixel."""
    settings = ["IMAGE_SIZE=8", "BATCH_SIZE=8", "BOARD=batch", "data.train_images=25", f"data.cache={tmp_path}"]
    run = run_of(settings)
    inputs = scoring_inputs(run.config, run.data, run.data.valid, run.world, asked)
    assert [len(images) for images in inputs.calibration_batches()] == batches
    assert len(inputs.images) == len(run.data.valid)


def test_a_process_scores_and_calibrates_with_its_share_of_a_batch(tmp_path):
    settings = ["IMAGE_SIZE=8", "BATCH_SIZE=16", "BOARD=batch", "data.train_images=25", f"data.cache={tmp_path}"]
    run = run_of(settings, World(1, 2, torch.device("cpu")))
    inputs = scoring_inputs(run.config, run.data, run.data.valid, run.world, 99)
    assert (inputs.batch, inputs.calibration_batch, len(inputs.calibration)) == (8, 8, 25)


@pytest.mark.parametrize(("asked", "held"), [(0, 0), (3, 3), (99, 8)])
def test_held_images_are_not_trained_on(asked, held):
    run = run_of(["data.train_images=64", f"HELD_IMAGES={asked or 2}", f"BOARD={'review' if asked else 'batch'}"])
    assert len(run.data.train) == 64 - held
    if held:
        trained = {bytes(run.data.train.image(index).numpy()) for index in range(64 - held)}
        assert len(run.held) == held
        assert not trained & {bytes(run.held.image(index).numpy()) for index in range(held)}


@pytest.mark.parametrize("settings", [["IMAGE_SIZE=16", "BATCH_SIZE=2"], ["IMAGE_SIZE=33", "BATCH_SIZE=2"]])
def test_a_single_image_on_maps_of_one_pixel_is_refused_before_training(settings):
    """Each of two processes has one, and norms of its own; images of 33 pixels leave maps of two."""
    asked = [*settings, "BOARD=batch", "data.train_images=25"]
    run = run_of(asked, World(0, 2, torch.device("cpu"), sync_norms=False))
    if run.config.resolution > 32:
        assert run.manifest({})["processes"] == 2
        return
    with pytest.raises(InputError, match=r"BATCH_SIZE gives a process batches of a single image, .* at least 2 images"):
        run.manifest({})
