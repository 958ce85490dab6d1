import torch

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot
from fewshot_nas.training.draws import OutsEnds, RandomArchs, Sampler
from studies.cifar10_truths.even import shares
from studies.cifar10_truths.run import space_of


def test_the_last_quarter_of_the_channels_belongs_to_a_quarter_of_the_networks() -> None:
    space = space_of("channel_resnet")
    supernet = Supernet(one_shot(space), num_classes=10)
    options = space.all_options
    sampler = Sampler(RandomArchs(space, 0, options), OutsEnds(space, 0, options), 2)
    named = dict(zip(dict(supernet.named_parameters()), shares(supernet, sampler), strict=True))
    quarters = torch.stack([part.mean() for part in named["blocks.0_0.main.0.norm.weight"].chunk(4)])
    assert torch.allclose(quarters, torch.tensor([1.0, 0.75, 0.5, 0.25]), atol=0.04)
    assert all(share.min() > 0 and share.max() <= 1 for share in named.values())
