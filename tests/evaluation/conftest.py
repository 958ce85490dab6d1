"""Small supernets and images whose scores are spread out."""

import random

import pytest
import torch

from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]


@pytest.fixture(scope="session")
def make_supernet():
    """A supernet whose weights are those of no training, but none of them is 0 or 1."""

    def make(groups, space="px8"):
        split = by_width(SPACES[space], groups) if isinstance(groups, int) else groups
        torch.manual_seed(split.groups)
        supernet = Supernet(split, num_classes=10)
        with torch.no_grad():
            for parameter in supernet.parameters():
                if parameter.dim() == 1:
                    parameter.uniform_(0.5, 1.5)
        return supernet.to(memory_format=torch.channels_last)

    return make


@pytest.fixture(scope="session")
def inputs():
    generator = torch.Generator().manual_seed(0)

    def pixels(count):
        # Smooth images: noise alone would make all networks guess one class.
        coarse = torch.rand(count, 1, 3, 3, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
        return (fine * 255).to(torch.uint8)

    labels = torch.randint(0, 10, (100,), generator=generator)
    device = torch.device("cpu")
    return Inputs(pixels(80), 32, pixels(100), labels, 40, (0.5,), (0.3,), device)


@pytest.fixture(scope="session")
def make_archs():
    """Archs of which many begin alike, as in a large pool."""

    def make(count, options=None, stems=4):
        heads = [random_arch(PX8, random.Random(f"head {seed}"), options) for seed in range(stems)]
        tails = [random_arch(PX8, random.Random(f"tail {seed}"), options) for seed in range(-(-count // stems))]
        stages = [slot.stage for slot in PX8.slots]
        archs = [
            tuple(ours if stage < 2 else theirs for stage, ours, theirs in zip(stages, head, tail, strict=True))
            for tail in tails
            for head in heads
        ]
        return archs[:count]

    return make
