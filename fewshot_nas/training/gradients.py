"""Gradients of a subnet, added straight into the supernet's leading slices.

Differentiating through a sliced view first writes the slice's gradient into zeros of the whole
parameter's size, then adds all of it, for each of a step's subnets. Here the forward runs on
leaves of the slice's size, and a hook adds each gradient to its slice as soon as it is known.
"""

from functools import partial

import torch
from torch import Tensor

from fewshot_nas.models.slicing import leading


class Leaves:
    """The `View` of one training step: turns parameters into leaves for `Supernet.weights`.

    Args:
        dtype: of weights that are multiplied (convolutions and classifier); they are cast once
            in the life of this object, not once per subnet. Vectors keep their own type.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self._cast: dict[Tensor, Tensor] = {}

    def __call__(self, parameter: Tensor, *sizes: int) -> Tensor:
        """A leaf that holds the parameter's leading slice."""
        if parameter not in self._cast:
            dtype = self._dtype if parameter.dim() > 1 else parameter.dtype
            self._cast[parameter] = parameter.detach().to(dtype)
        whole = self._cast[parameter]
        leaf = leading(whole, *sizes)
        # A dense leaf spares the convolution a copy forwards, and autograd one backwards.
        leaf = (leaf.detach() if leaf is whole else leaf.clone()).requires_grad_()
        leaf.register_post_accumulate_grad_hook(partial(_deposit, parameter))  # type: ignore[no-untyped-call]
        return leaf


def _deposit(parameter: Tensor, leaf: Tensor) -> None:
    gradient, leaf.grad = leaf.grad, None
    assert gradient is not None
    if parameter.grad is None and gradient.shape == parameter.shape:
        parameter.grad = gradient.to(parameter.dtype)
        return
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    leading(parameter.grad, *gradient.shape).add_(gradient)
