"""What untrained networks tell: how unlike the images of a batch switch a subnet's units on (NASWOT).

A network that tells images apart before it is trained tends to do so better after it (arXiv:2006.04647). All subnets
are slices of one supernet with fresh weights, so they differ by their shapes more than by their draws.
"""

import torch
from torch import Tensor

from fewshot_nas.models.run import ConvNorm, batch_norm, run
from fewshot_nas.models.supernet import Supernet, initialise
from fewshot_nas.space.block import Op
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import one_shot

IMAGES = 64  # of the batch


def untrained(space: Space, seed: int) -> Supernet:
    """A supernet with fresh weights. Unlike at the start of a training, no block begins as its shortcut."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        supernet = Supernet(one_shot(space), num_classes=1)
        initialise(supernet, as_shortcuts=False)
    return supernet


@torch.no_grad()
def naswot(supernet: Supernet, arch: Arch, images: Tensor) -> float:
    """The log-determinant of the matrix that counts, for each two images, the units that both or none switch on.

    One is added to its diagonal, so that images which a small network cannot tell apart do not make it singular.
    Of the units, those count whose convolution, norm or sum ends in relu or SiLU.

    Args:
        images: [B, C, H, W], normalised.
    """
    alike = torch.eye(len(images), dtype=torch.float64)
    plain = batch_norm()

    def counting(op: Op, unit: ConvNorm, x: Tensor, plus: Tensor | None = None) -> Tensor:
        y = plain(op, unit, x, plus)
        if op.act != "none":  # both activations are positive where what they are given is
            signs = (y > 0).flatten(1).float().mul_(2).sub_(1)
            alike.add_((signs @ signs.T + signs.shape[1]) / 2)
        return y

    x = images
    for block, _, main, shortcut in supernet.tensors(arch).blocks:
        x = run(block, main, shortcut, x, counting)
    return float(torch.linalg.slogdet(alike)[1])
