"""A subnet as a plain torch network, to save, script, export, fine-tune or train from scratch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.models.blueprint import blueprint
from fewshot_nas.models.layers import ConvBN, initialise, residual_block
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace


class Subnet(nn.Module):
    """The static network of one arch, with fresh weights.

    Unlike a supernet's, its batch norms have running statistics and use them after `eval()`.
    They start with mean 0 and variance 1: train the network or calibrate it before you score it.

    Attributes:
        trained_on: facts about its training images, see `Supernet`.
    """

    def __init__(self, space: SearchSpace, arch: Arch, num_classes: int) -> None:
        super().__init__()
        self.trained_on: Mapping[str, Any] = {}
        shapes = space.blocks(arch)
        self.stem = ConvBN(space.in_channels, shapes[0].inputs, space.stem_kernel, space.stem_stride, tracks=True)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, 2, 1) if space.stem_pool else nn.Identity()
        self.blocks = nn.Sequential(*(residual_block(shape, shape.projects, tracks=True) for shape in shapes))
        self.head = nn.Linear(shapes[-1].out, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] for images [B, C, H, W]."""
        x = self.blocks(self.pool(self.relu(self.stem(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def extract(supernet: Supernet, arch: Arch) -> Subnet:
    """Copy one subnet out of a supernet.

    The subnet is returned in training mode, in which it computes what the supernet computes. A
    supernet has no batch norm statistics, so calibrate the subnet's before you call `eval()`.
    """
    weights = supernet.weights(arch)
    like = weights.head.weight
    plan = blueprint(lambda: Subnet(supernet.space, arch, supernet.num_classes), like.dtype)
    subnet = plan.to_empty(device=like.device)
    subnet.trained_on = supernet.trained_on
    with torch.no_grad():
        for target, source in zip(subnet.parameters(), weights.tensors(), strict=True):
            assert target.shape == source.shape
            target.copy_(source)
    for module in subnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return subnet
