import torch

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot
from studies.cifar10_truths.channels import lines
from studies.cifar10_truths.run import space_of


def test_norms_are_told_by_quarters_of_their_channels() -> None:
    supernet = Supernet(one_shot(space_of("channel_resnet")), num_classes=10)
    stem = supernet.stored((0, 0))
    with torch.no_grad():
        stem.layers(stem.main)[0].norm.weight.copy_(-torch.arange(4.0).repeat_interleave(16))
    _, _, first, *others = lines(supernet)
    assert first.startswith("| 0_0 | 0 | 0.00, 1.00, 2.00, 3.00 | ")
    assert len(others) == 10
