"""Every shipped configuration goes through its plan at its real numbers, memory included; nothing is computed.

Networks and images are on torch's meta device, which has shapes only.
"""

from itertools import islice
from pathlib import Path

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.settings import load
from fewshot_nas.config import load_config
from fewshot_nas.cream.config import CheckpointConfig, RetrainConfig, SearchConfig
from fewshot_nas.cream.flops import budget_for
from fewshot_nas.cream.teaching import PathSampler
from fewshot_nas.data.loader import batch_images
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.prefix_tree import make_plan
from fewshot_nas.evaluation.scorer import UNIT_NETWORKS, within_memory
from fewshot_nas.models.subnet import Subnet, blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.running.images import SCORED_AT_ONCE
from fewshot_nas.space.pool import part_path, read_arch_file
from fewshot_nas.space.split import by_width, one_shot

ROOT = Path(__file__).parents[1]
PROCESSES = 8
# Training images, images to score on, and classes.
IMAGENET = (1_281_167, 50_000, 1000)
DATA = {
    "digits": (1197, 300, 10),
    "fashion_mnist": (50_000, 10_000, 10),
    "fashion_pairs": (60_000, 10_000, 45),
    "lists": IMAGENET,
}
CPU_MB, GPU_MB = 16_000, 6_000  # what a process may have of a usual machine of each kind


@pytest.fixture
def needed():
    """What evaluating the first archs of the pool takes, as the `test` command would find out."""

    def of(path, groups, archs, **memory_mb):
        config = load_config(path)
        space, settings = config.space.build(), config.evaluation
        _, images, classes = DATA[config.data.name]
        supernet = blueprint(lambda: Supernet(by_width(space, groups), classes))
        part = read_arch_file(part_path(ROOT / config.run.pool, 1), space)
        chosen = [entry.arch for entry in islice(part.values(), archs)]
        plan = make_plan(supernet.split, chosen, unit_networks=UNIT_NETWORKS, num_classes=classes)
        for device, most_mb in memory_mb.items():
            inputs, found_mb = within_memory(plan.units, supernet, inputs_of(space, settings, images, device), most_mb)
            assert found_mb <= most_mb
            assert inputs.batch == (settings.batch_size or SCORED_AT_ONCE)

    return of


def inputs_of(space, settings, images, device):
    shape = (space.in_channels, space.resolution, space.resolution)
    return Inputs(
        torch.empty(settings.calibration_images, *shape, dtype=torch.uint8, device="meta"),
        settings.calibration_batch,
        torch.empty(images, *shape, dtype=torch.uint8, device="meta"),
        torch.empty(images, device="meta"),
        settings.batch_size or SCORED_AT_ONCE,
        (0.5,) * space.in_channels,
        (0.5,) * space.in_channels,
        torch.device(device),
    )


RANKING = sorted(ROOT.glob("configs/[!c]*.yml"))


@pytest.mark.parametrize("path", RANKING, ids=lambda path: path.name)
def test_an_evaluation_fits_a_usual_machine(needed, path):
    """With its whole batches."""
    needed(path, 7, 60, cuda=GPU_MB, cpu=CPU_MB)


@pytest.mark.slow
@pytest.mark.parametrize("path", RANKING, ids=lambda path: path.name)
@pytest.mark.parametrize("groups", [1, 7])
def test_a_whole_part_fits_a_usual_machine(needed, path, groups):
    needed(path, groups, None, cuda=GPU_MB, cpu=CPU_MB)


def test_a_setting_that_is_too_small_is_refused(needed):
    """As the former default of 2048 MB was, with which the README's line for ImageNet once ended."""
    with pytest.raises(InputError, match=r"may take 2048 MB, but \d+ are needed for a calibration batch of 128 images"):
        needed(ROOT / "configs" / "imagenet.yml", 7, 60, cuda=2048)


@pytest.mark.parametrize("path", RANKING, ids=lambda path: path.name)
def test_eight_processes_share_each_batch(path):
    config = load_config(path)
    images = DATA[config.data.name][0]
    for section in (config.training, config.few_shot, config.stand_alone):
        assert batch_images(images, section.batch_size, PROCESSES) % PROCESSES == 0


def test_the_published_search_has_paths_and_a_network():
    config = load(SearchConfig, ROOT / "configs" / "cream_search.yml")
    budget = budget_for(config.FLOPS_MINIMUM, config.FLOPS_MAXIMUM, legacy=config.LEGACY)
    assert config.FLOPS_MINIMUM <= budget.mflops(PathSampler(0, budget).archs(0)[0]) <= config.FLOPS_MAXIMUM
    network = blueprint(lambda: Supernet(one_shot(budget.space), IMAGENET[2]))
    assert sum(parameter.numel() for parameter in network.parameters()) > 10_000_000
    assert batch_images(IMAGENET[0], config.BATCH_SIZE, PROCESSES) // PROCESSES >= 2 * config.SLICE


@pytest.mark.parametrize(("kind", "name"), [(RetrainConfig, "retrain"), (CheckpointConfig, "test")])
def test_the_published_network_takes_images_of_its_size(kind, name):
    config = load(kind, ROOT / "configs" / f"cream_{name}.yml")
    model = config.model()
    side = config.IMAGE_SIZE or model.resolution
    network = blueprint(lambda: Subnet(*model, IMAGENET[2]))
    assert network(torch.empty(2, 3, side, side, device="meta")).shape == (2, IMAGENET[2])
    assert config.BATCH_SIZE % PROCESSES == 0
