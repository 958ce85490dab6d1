"""The plain way to score subnets, one at a time: what the field does, and what the engine must equal."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.arch import Arch


@dataclass(frozen=True)
class Accuracy:
    """In percent: images whose label is the first guess, or among the first five, and the labels' mean probability.

    The last is the accuracy of guesses drawn by the network's probabilities. It has no ties, and
    ranks archs of nearly the same accuracy where the others count a handful of images.
    """

    top1: float
    top5: float
    prob: float


Correct = tuple[float, float, float]  # sums over images: right at first guess, within five, the label's probability


def accuracy(correct: Correct, images: int) -> Accuracy:
    """In percent of `images`."""
    return Accuracy(*(100 * each / images for each in correct))


def correct_guesses(logits: Tensor, labels: Tensor) -> Tensor:
    """Sums over images: right at the first guess, within five, and the label's probability: float64 [3].

    Args:
        logits: [B, classes].
        labels: [B].
    """
    guesses = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]  # [B, 5]
    probability = logits.double().softmax(1).gather(1, labels[:, None])
    return torch.stack([guesses[:, 0].sum(), guesses.sum(), probability.sum()])


@torch.no_grad()
def calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace a network's batch norm statistics by their means over batches, in place.

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
    for norm in norms:
        norm.momentum = None  # a cumulative mean
    network.train()
    for batch in batches:
        network(batch)
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        if not norm.num_batches_tracked:
            raise ValueError("calibration needs at least one batch")
        norm.momentum = momentum


@torch.no_grad()
def measure(network: nn.Module, inputs: Inputs) -> Accuracy:
    """Accuracy of a network in evaluation mode on the scoring images."""
    with inputs.autocast():
        guesses = [correct_guesses(network(images), labels) for images, labels in inputs.scoring_batches()]
    top1, top5, prob = torch.stack(guesses).sum(0).tolist()
    return accuracy((top1, top5, prob), len(inputs.images))


def score_plainly(supernet: Supernet, archs: Iterable[Arch], inputs: Inputs) -> list[Accuracy]:
    """Extract, calibrate and measure each arch, sharing nothing."""
    scores = []
    for arch in archs:
        subnet = extract(supernet, arch)
        with inputs.autocast():
            calibrate(subnet, inputs.calibration_batches())
        scores.append(measure(subnet, inputs))
    return scores
