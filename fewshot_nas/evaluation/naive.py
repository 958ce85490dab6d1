"""The plain way to score subnets, one at a time, as is usual. The engine must give the same results."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from fewshot_nas.evaluation.inputs import Accuracy, Inputs, Sums, mean_of_sides, sums, weighed
from fewshot_nas.models.sides import sides
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace a network's batch norm statistics by their means over batches, weighed by their images, in place.

    Statistics gathered over many subnets fit none of them, so each subnet gets its own before
    it is scored (BigNAS, arXiv:2003.11142). The network is in evaluation mode afterwards.

    Args:
        batches: images [B, C, H, W], normalised, from the training split.

    Raises:
        ValueError: `batches` is empty.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
    momenta = [norm.momentum for norm in norms]
    network.train()
    for images, share in weighed(batches):
        for norm in norms:
            norm.momentum = share
        network(images)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def measure(network: nn.Module, inputs: Inputs) -> Accuracy:
    """Accuracy of a network in evaluation mode on the scoring images."""
    return total(network, inputs).accuracy(len(inputs.images))


@torch.no_grad()
def total(network: nn.Module, inputs: Inputs) -> Sums:
    """The sums over the scoring images from which an accuracy is computed."""
    with inputs.autocast():
        parts = [sums(network(images), labels) for images, labels in inputs.scoring_batches()]
    return Sums(*torch.stack(parts).sum(0).tolist())


@torch.no_grad()
def answers(network: nn.Module, inputs: Inputs) -> Tensor:
    """The logits of a network in evaluation mode for the scoring images, float32 [M, classes] on the CPU."""
    with inputs.autocast():
        return torch.cat([network(images).float().cpu() for images, _ in inputs.scoring_batches()])


def score_plainly(supernet: Supernet, archs: Sequence[Arch], inputs: Inputs) -> list[Accuracy]:
    """Extract, calibrate and measure each arch; nothing is shared between archs."""
    found = [_totals(side, archs, inputs) for side in sides(supernet)]
    return [each.accuracy(len(inputs.images)) for each in mean_of_sides(found)]


def _totals(supernet: Supernet, archs: Sequence[Arch], inputs: Inputs) -> list[Sums]:
    found = []
    for arch in archs:
        subnet = extract(supernet, arch)
        with inputs.autocast():
            calibrate(subnet, inputs.calibration_batches())
        found.append(total(subnet, inputs))
    return found
