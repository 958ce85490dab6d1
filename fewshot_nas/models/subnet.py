"""A subnet as a plain torch network, to save, export, fine-tune or train from scratch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.models.batch import BatchShare
from fewshot_nas.models.blueprint import blueprint
from fewshot_nas.models.layers import BlockLayers, HeadLayers, initialise
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch, Space


class Subnet(nn.Module):
    """The static network of one arch, with fresh weights.

    Unlike a supernet's, its batch norms have running statistics and use them after `eval()`.
    They start with mean 0 and variance 1: train the network or calibrate it before you score it.

    Attributes:
        trained_on: facts about its training images, see `Supernet`.
    """

    def __init__(self, space: Space, arch: Arch, num_classes: int) -> None:
        super().__init__()
        self.trained_on: Mapping[str, Any] = {}
        self.in_channels, self.num_classes = space.in_channels, num_classes
        self.blocks = nn.Sequential(*(BlockLayers(block, tracks=True) for _, block in space.blocks(arch)))
        self.head = HeadLayers(space.head(arch), num_classes)
        initialise(self, as_shortcuts=space.starts_as_shortcuts)

    def forward(self, x: Tensor, share: BatchShare | None = None) -> Tensor:
        """Logits [B, classes] for images [B, C, H, W].

        Args:
            share: of the batch, if several processes train on it; all of them have to call this.
        """
        for block in self.blocks:
            x = block(x, share)
        logits: Tensor = self.head(x, share)
        return logits


def extract(supernet: Supernet, arch: Arch) -> Subnet:
    """Copy one subnet out of a supernet.

    The subnet is returned in training mode, in which it computes what the supernet computes. A
    supernet has no batch norm statistics, so calibrate the subnet's before you call `eval()`.
    """
    weights = supernet.tensors(arch)
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
