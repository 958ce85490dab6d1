"""How unlike images switch an untrained subnet's units on."""

import random

import pytest
import torch
from torch.nn.functional import relu, silu
from torch.overrides import TorchFunctionMode

from fewshot_nas.models.subnet import extract
from fewshot_nas.scoring.scorer import naswot, untrained
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch


class Patterns(TorchFunctionMode):
    """Which units each image switches on, in the order of the network."""

    def __init__(self, images):
        super().__init__()
        self.on = [[] for _ in range(images)]

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (relu, silu) and args[0].ndim == 4:
            for image, values in enumerate(args[0]):
                self.on[image] += (values > 0).flatten().tolist()
        return func(*args, **(kwargs or {}))


def drawn(name, images):
    space = SPACES[name]
    generator = torch.Generator().manual_seed(0)
    shape = (images, space.in_channels, space.resolution, space.resolution)
    return space, random_arch(space, random.Random(0)), torch.randn(shape, generator=generator)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["px8", "macro_quarter", "channel_mobilenet_quarter"])
def test_it_is_the_log_determinant_of_what_pairs_of_images_share(name):
    space, arch, images = drawn(name, 5)
    supernet = untrained(space, seed=1)
    with Patterns(5) as seen, torch.no_grad():
        extract(supernet, arch).train()(images)
    alike = [[sum(a == b for a, b in zip(one, other, strict=True)) for other in seen.on] for one in seen.on]
    whole = torch.tensor(alike, dtype=torch.float64) + torch.eye(5)
    assert len(seen.on[0]) > 100
    assert naswot(supernet, arch, images) == pytest.approx(float(torch.logdet(whole)), rel=1e-4)


def test_silu_counts_too():
    space, arch, images = drawn("cream", 4)
    small = images[..., :32, :32]
    assert naswot(untrained(space, seed=0), arch, small) > 4 * 5  # of the log of hundreds of units, four times


def test_equal_images_are_no_singular_matrix():
    space, arch, images = drawn("px8", 2)
    supernet = untrained(space, seed=0)
    same = naswot(supernet, arch, images[:1].expand(2, -1, -1, -1))
    assert 0 < same < naswot(supernet, arch, images)


def test_the_seed_decides_and_nobody_else_s_draws_change():
    space, arch, images = drawn("px8", 8)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    values = [naswot(untrained(space, seed), arch, images) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert torch.rand(1) == expected
