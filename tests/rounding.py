"""How far two routes to the same number may lie apart: a bound from the length of the sums, not a tolerance by trial.

A computed sum of n products is off by at most n * u * (the sum of their absolute values), where u is half the distance
from 1 to the next number of the format (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). In a chain of
layers the lengths add up to first order, so two routes through one network differ by at most

    2 * terms * u * magnitude        terms: lengths of the sums along the network's longest path, added

A kernel chooses the order of its sums by processor, memory layout and batch, which moves a result within this bound.
Rounding errors have random signs, and so grow like the root of `terms` only. The distance between the root and
`terms` is room for what the formula leaves out: terms that cancel, and layers that amplify.

Where a ReLU's input is nearly 0, rounding decides whether a gradient passes, and no bound in float32 is small. Tests of
gradients therefore run in float64 wherever the code under test allows it: there the case does not occur.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace


def bound(terms: int, magnitude: float, dtype: torch.dtype = torch.float32) -> float:
    """The largest difference that rounding explains between two orders of the same sums."""
    return terms * torch.finfo(dtype).eps * magnitude  # eps is twice the unit roundoff


def terms(space: SearchSpace, archs: Sequence[Arch], images: Tensor, *, backward: bool = False) -> int:
    """Lengths of the sums on the longest path through any of these subnets, added.

    Per block two convolutions (inputs times kernel) and two norms over a batch [B, C, H, W]; then
    the mean over pixels and the classifier. A backward pass has the same sums once more, and a
    weight's gradient adds up over the batch's pixels as its norm does.

    Args:
        images: a batch as the subnets see it.
    """
    pixels = images.shape[0] * images.shape[2] * images.shape[3]  # of the largest map
    longest = max(_forward(space, arch, pixels) for arch in archs)
    return 2 * longest if backward else longest


def _forward(space: SearchSpace, arch: Arch, pixels: int) -> int:
    blocks = space.blocks(arch)
    stem = space.in_channels * space.stem_kernel**2 + pixels
    return stem + sum(9 * (block.inputs + block.mid) + 2 * pixels for block in blocks) + pixels + blocks[-1].out


def assert_equal_but_for_rounding(found: Tensor, expected: Tensor, terms: int, what: str = "") -> None:
    """Every element agrees within `bound`, the magnitude being the largest expected element's."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    found, expected = found.detach(), expected.detach()
    difference = float((found.double() - expected.double()).abs().max())
    allowed = bound(terms, float(expected.abs().max()), found.dtype)
    assert difference <= allowed, f"{what} differs by {difference:.3g}, rounding explains {allowed:.3g}"
