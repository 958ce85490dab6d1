"""A search space small enough for many trainings."""

import pytest
import torch

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.split import by_width

TINY = ResNetSpace(
    name="tiny",
    base_widths=(4, 6, 10, 20),
    ratios=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4),
    divisor=1,
    strides=(1, 2, 1, 2),
    stem_kernel=3,
    stem_stride=1,
    stem_pool=False,
    in_channels=1,
    resolution=8,
)


@pytest.fixture
def tiny():
    return TINY


@pytest.fixture
def supernet():
    """Makes a supernet; norms are random, for those at 0 would hide the gradients of their blocks."""

    def make(groups=1, *, channels_last=True):
        torch.manual_seed(0)
        network = Supernet(by_width(TINY, groups), num_classes=5)
        for parameter in network.parameters():
            if parameter.ndim == 1:
                torch.nn.init.uniform_(parameter, 0.2, 0.8)
        return network.to(memory_format=torch.channels_last) if channels_last else network

    return make


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(6, 1, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    return images, torch.randint(5, (6,), generator=generator)
