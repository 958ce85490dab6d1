"""The other side of a supernet, whose subnets have the last channels instead of the first (BCNet, arXiv:2105.10533)."""

from copy import deepcopy

import torch

from fewshot_nas.models.supernet import Supernet


def mirrored(supernet: Supernet) -> Supernet:
    """The same network with the order of all its channels reversed: its leading channels are the supernet's last."""
    other = deepcopy(supernet)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            reads_images = name.startswith("blocks.0_") and name.endswith(".main.0.conv.weight")
            kept = {0} if ".linear." in name else {1} if reads_images else set()  # classes, colours
            parameter.copy_(parameter.flip([dim for dim in range(min(parameter.dim(), 2)) if dim not in kept]))
    return other
