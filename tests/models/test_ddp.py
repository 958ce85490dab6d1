"""The arch is an argument of `forward`, so DistributedDataParallel passes it through."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from tests.rounding import assert_equal_but_for_rounding, terms

PX8 = SPACES["px8"]

# Each leaves parameters of the other unused.
archs = [PX8.extreme(PX8.all_options, largest=each) for each in (True, False)]


def build() -> Supernet:
    torch.manual_seed(0)
    return Supernet(by_width(PX8, 2), num_classes=10)


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("module."): parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.dist
def test_two_ranks_average_their_gradients(ranks):
    images = torch.randn(2, 4, 1, 8, 8)

    def work():
        dist.init_process_group("gloo")
        network = DistributedDataParallel(build(), find_unused_parameters=True)
        for arch in archs:
            network(images[dist.get_rank()], arch).square().sum().backward()
        dist.destroy_process_group()
        return gradients(network)

    alone = build()
    for half in images:
        for arch in archs:
            (alone(half, arch).square().sum() / 2).backward()
    first, second = ranks(2, work)
    assert first.keys() == gradients(alone).keys() < dict(alone.named_parameters()).keys()
    for name, gradient in gradients(alone).items():
        assert torch.equal(first[name], second[name])
        length = len(archs) * terms(alone.space, archs, images.flatten(0, 1), backward=True)
        assert_equal_but_for_rounding(first[name], gradient, length, name)
