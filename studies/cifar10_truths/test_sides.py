import random

import pytest
import torch

from fewshot_nas.models.run import run_subnet
from fewshot_nas.models.supernet import Supernet, trailing
from fewshot_nas.space.space import random_arch
from fewshot_nas.space.split import one_shot
from studies.cifar10_truths.run import space_of
from studies.cifar10_truths.sides import mirrored


@pytest.mark.parametrize("table", ["channel_resnet", "channel_mobilenet"])
def test_a_mirrored_supernets_first_channels_compute_what_its_last_ones_did(table: str) -> None:
    space, images = space_of(table), torch.rand(4, 3, 32, 32)
    supernet = Supernet(one_shot(space), num_classes=10)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5)
    other = mirrored(supernet)
    for seed in range(5):
        arch = random_arch(space, random.Random(seed), space.all_options)
        expected = run_subnet(supernet.tensors(arch, trailing), images)
        torch.testing.assert_close(other(images, arch), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(supernet(images, arch), expected, rtol=1e-2)
