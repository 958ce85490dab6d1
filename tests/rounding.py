"""How far two routes to the same number may lie apart: a bound from the length of the sums, not a tolerance by trial.

A computed sum of n products is off by at most

    8 * sqrt(n) * u * (the sum of their absolute values)

where u is half the distance from 1 to the next number of the format; the probability of more is below 2 n exp(-32),
because rounding errors have random signs (Higham and Mary, A new approach to probabilistic rounding error analysis,
SIAM J. Sci. Comput. 41, 2019, theorem 2.4 with lambda = 8). The lengths of the sums along a chain of layers add up,
so two routes through one network, each off by that much, differ by at most

    2 * 8 * sqrt(terms) * u * magnitude        terms: lengths of the sums along the network's longest path, added

A kernel chooses the order of its sums by processor, memory layout and batch, which moves a result within this bound.
Kernels add up in blocks, so their errors are far smaller than the bound's. This leaves room for what the formula leaves
out: terms that cancel, and layers that amplify.

Where a ReLU's input is nearly 0, rounding decides whether a gradient passes, and no bound in float32 is small. Tests of
gradients therefore run in float64 wherever the code under test allows it: there the case does not occur.
"""

import math
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from fewshot_nas.evaluation.inputs import Accuracy, Inputs, Sums, sums
from fewshot_nas.evaluation.naive import calibrate
from fewshot_nas.models.subnet import extract
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.block import Op
from fewshot_nas.space.space import Arch, Space


def bound(terms: int, magnitude: float, dtype: torch.dtype = torch.float32) -> float:
    """The largest difference that rounding explains between two orders of the same sums."""
    return 8 * sqrt(terms) * torch.finfo(dtype).eps * magnitude  # eps is twice the unit roundoff


def terms(space: Space, archs: Sequence[Arch], images: Tensor, *, backward: bool = False) -> int:
    """Lengths of the sums on the longest path through any of these subnets, added.

    Per block its convolutions (inputs times kernel) and as many norms over a batch [B, C, H, W]; then
    the mean over pixels and the layers of the head. A backward pass has the same sums once more, and a
    weight's gradient adds up over the batch's pixels as its norm does.

    Args:
        images: a batch as the subnets see it.
    """
    pixels = images.shape[0] * images.shape[2] * images.shape[3]  # of the largest map
    longest = max(_forward(space, arch, pixels) for arch in archs)
    return 2 * longest if backward else longest


def _forward(space: Space, arch: Arch, pixels: int) -> int:
    head = space.head(arch)
    ops = [op for _, block in space.blocks(arch) for op in block.main]
    return sum(_op(op, pixels) for op in ops) + pixels + head.inputs + head.hidden


def _op(op: Op, pixels: int) -> int:
    """The convolution, the norm, and the mean and two layers of a squeeze-and-excitation."""
    gate = pixels + op.out + op.squeeze if op.squeeze else 0
    return op.kernel**2 * op.inputs // op.groups + pixels + gate


def assert_equal_but_for_rounding(found: Tensor, expected: Tensor, terms: int, what: str = "") -> None:
    """Every element agrees within `bound`, the magnitude being the largest expected element's."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    found, expected = found.detach(), expected.detach()
    difference = float((found.double() - expected.double()).abs().max())
    allowed = bound(terms, float(expected.abs().max()), found.dtype)
    assert difference <= allowed, f"{what} differs by {difference:.3g}, rounding explains {allowed:.3g}"


@torch.no_grad()
def plain_logits(supernet: Supernet, arch: Arch, inputs: Inputs) -> Tensor:
    """Logits of every scoring image [N, classes], by the plain way: extract, calibrate, run."""
    subnet = extract(supernet, arch)
    calibrate(subnet, inputs.calibration_batches())
    return torch.cat([subnet(images) for images, _ in inputs.scoring_batches()])


def assert_score_is_plain_but_for_rounding(found: Accuracy, supernet: Supernet, arch: Arch, inputs: Inputs) -> None:
    """An arch's accuracy is that of its plain logits.

    Where logits are off by at most e, a probability is off by at most e / 2, because its slope in its own logit
    and in all others together is at most 1/4 each, and its logarithm is off by at most 2 e. An image changes sides
    only if its label's logit and the rival that decides lie within 2 e of each other.
    """
    logits, labels = plain_logits(supernet, arch, inputs), inputs.labels
    length = terms(supernet.space, [arch], inputs.calibration[: inputs.calibration_batch])
    off = bound(length, float(logits.abs().max()))
    expected = Sums(*sums(logits, labels).tolist()).accuracy(len(labels))
    assert abs(found.prob - expected.prob) <= 100 * off / 2
    assert abs(math.log(found.likelihood / expected.likelihood)) <= 2 * off
    own = logits.gather(1, labels[:, None])[:, 0]
    rivals = logits.scatter(1, labels[:, None], -torch.inf).sort(descending=True).values
    for guesses, changed in ((1, found.top1 - expected.top1), (5, found.top5 - expected.top5)):
        close = (own - rivals[:, min(guesses, rivals.shape[1]) - 1]).abs() <= 2 * off
        assert round(abs(changed) * len(labels) / 100) <= int(close.sum())
