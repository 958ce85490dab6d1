"""Which part of a stored tensor a subnet uses: leading channels, and the centre of a kernel.

Widths take *leading* channels, as in once-for-all (arXiv:1908.09791) and BigNAS (arXiv:2003.11142), and a small
kernel is the centre of a larger one.
"""

from typing import Protocol

from torch import Tensor


class View(Protocol):
    """Turns a parameter into the tensor of a subnet; `sizes` are the sizes of its first dimensions."""

    def __call__(self, parameter: Tensor, *sizes: int) -> Tensor: ...


def part(parameter: Tensor, *sizes: int) -> Tensor:
    """The leading channels of dimensions 0 and 1 and the centre of the others, as a view.

    Dimensions for which no size is given stay whole.
    """
    for dim, size in enumerate(sizes):
        # A slice that is the whole dimension would still cost the backward pass a copy of the tensor.
        if size != parameter.shape[dim]:
            start = (parameter.shape[dim] - size) // 2 if dim > 1 else 0
            parameter = parameter.narrow(dim, start, size)
    return parameter
