"""The two sides of a supernet: subnets of its first channels, and of its last (BCNet, arXiv:2105.10533).

With one side, the first channels belong to all subnets and the last to the widest ones only. So the first learn first,
and what they have learned the others need not: wide subnets hardly use their width. With two sides, every other subnet
that is trained takes the last channels, and a subnet's score is the mean of both.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor

from fewshot_nas.models.supernet import Supernet, part


def trailing(parameter: Tensor, *sizes: int) -> Tensor:
    """As `part`, but with the last channels of dimensions 0 and 1."""
    for dim, size in enumerate(sizes[:2]):
        if size != parameter.shape[dim]:
            parameter = parameter.narrow(dim, parameter.shape[dim] - size, size)
    return part(parameter, *parameter.shape[:2], *sizes[2:])


def sides(supernet: Supernet) -> Sequence[Supernet]:
    """The supernets by whose first channels subnets are scored: itself, and its mirror image if it has two sides."""
    return [supernet, mirrored(supernet)] if supernet.two_sided else [supernet]


@torch.no_grad()
def mirrored(supernet: Supernet) -> Supernet:
    """The same network with the order of its channels reversed: its first channels are the supernet's last.

    >>> from fewshot_nas import random_arch
    >>> from fewshot_nas.space.presets import preset
    >>> from fewshot_nas.space.split import one_shot
    >>> supernet = Supernet(one_shot(preset("px8")), num_classes=10)
    >>> largest = supernet.space.extreme(supernet.space.all_options, largest=True)
    >>> images = torch.randn(2, 1, 8, 8)
    >>> torch.allclose(mirrored(supernet)(images, largest), supernet(images, largest), atol=1e-4)
    True
    """
    other = deepcopy(supernet)
    for name, parameter in other.named_parameters():
        reads_images = name.startswith("blocks.0_") and name.endswith(".main.0.conv.weight")
        kept = {0} if ".linear." in name else {1} if reads_images else set()  # classes, colours
        parameter.copy_(parameter.flip([dim for dim in range(min(parameter.dim(), 2)) if dim not in kept]))
    return other
