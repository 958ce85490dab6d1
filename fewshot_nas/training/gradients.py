"""Gradients of a subnet, added straight into the supernet's leading slices.

Differentiating through a sliced view first writes the slice's gradient into zeros of the whole
parameter's size, then adds all of it, for each of a step's subnets. Here the forward runs on
leaves of the slice's size, and afterwards the gradients of all leaves of a subnet are added to
their slices in one operation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewshot_nas.models.run import SubnetTensors
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.space.space import Arch

_Leaf = tuple[Tensor, Tensor]  # a parameter, and the leaf that holds its leading slice


class Leaves:
    """The leaves of one training step.

    Args:
        dtype: of weights that are multiplied (convolutions and classifier); they are cast once
            in the life of this object, not once per subnet. Vectors keep their own type.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self._cast: dict[Tensor, Tensor] = {}
        self._subnets: list[list[_Leaf]] = []  # whose gradients are not in the parameters yet

    def weights(self, supernet: Supernet, arch: Arch) -> SubnetTensors:
        """A subnet's leaves; gradients that earlier subnets have by now are added to the parameters."""
        self.deposit()
        leaves: list[_Leaf] = []
        copies: list[_Leaf] = []  # of slices

        def view(parameter: Tensor, *sizes: int) -> Tensor:
            piece = part(self._whole(parameter), *sizes)
            # A dense leaf spares the convolution a copy forwards, and autograd one backwards.
            leaf = piece.detach() if _dense(piece) else torch.empty_like(piece)
            if not _dense(piece):
                copies.append((piece, leaf))
            leaves.append((parameter, leaf))
            return leaf

        weights = supernet.tensors(arch, view)
        if copies:
            torch._foreach_copy_([leaf for _, leaf in copies], [piece for piece, _ in copies])
        if torch.is_grad_enabled():
            for _, leaf in leaves:
                leaf.requires_grad_()
            self._subnets.append(leaves)
        return weights

    def deposit(self) -> None:
        """Add the gradients that the leaves have to the parameters."""
        differentiated = [leaves for leaves in self._subnets if leaves[0][1].grad is not None]
        self._subnets = [leaves for leaves in self._subnets if leaves[0][1].grad is None]
        for leaves in differentiated:
            _deposit(leaves)

    def _whole(self, parameter: Tensor) -> Tensor:
        if parameter not in self._cast:
            dtype = self.dtype if parameter.dim() > 1 else parameter.dtype
            self._cast[parameter] = parameter.detach().to(dtype)
        return self._cast[parameter]


def _dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _deposit(leaves: Sequence[_Leaf]) -> None:
    """Add the gradients of one subnet, whose leaves belong to different parameters."""
    zeros: list[Tensor] = []
    sums: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}  # slices, and what is added to them
    for parameter, leaf in leaves:
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if parameter.grad is None and gradient.shape == parameter.shape:
            parameter.grad = gradient.to(parameter.dtype)
            continue
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
            zeros.append(parameter.grad)
        slices, gradients = sums.setdefault(gradient.dtype, ([], []))
        slices.append(part(parameter.grad, *gradient.shape))
        gradients.append(gradient)
    if zeros:
        torch._foreach_zero_(zeros)
    for slices, gradients in sums.values():
        torch._foreach_add_(slices, gradients)
