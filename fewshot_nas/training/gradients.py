"""Gradients in training: leaves, whose gradients are added to the supernet's slices; fast products; means of processes.

Differentiating through a sliced view first writes the slice's gradient into zeros of the whole
parameter's size, then adds all of it, for each of a step's subnets. Here the forward runs on
leaves of the slice's size, and afterwards the gradients of all leaves of a subnet are added to
their slices in one operation.

In the last stages of small images, feature maps have few pixels and hundreds of channels. For these, torch's
convolutions use only a small part of a processor's speed, especially in the backward pass. The product of all windows
with the weights uses most of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.distributed import World
from fewshot_nas.models.run import SubnetTensors, convolve_plainly
from fewshot_nas.models.supernet import Supernet, View, part
from fewshot_nas.space.space import Arch

_CHANNELS_PER_PIXEL = 16  # input channels per pixel of the output, from which on the product is faster (measured)
_Leaf = tuple[Tensor, Tensor]  # a parameter, and the leaf that holds a slice of it


class Leaves:
    """The leaves of one training step.

    Args:
        dtype: of weights that are multiplied (convolutions and classifier); they are cast once
            in the life of this object, not once per subnet. Vectors keep their own type.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self._cast: dict[Tensor, Tensor] = {}
        self._subnets: list[tuple[View, list[_Leaf]]] = []  # whose gradients are not in the parameters yet

    def weights(self, supernet: Supernet, arch: Arch, slices: View = part) -> SubnetTensors:
        """A subnet's leaves; gradients that earlier subnets have by now are added to the parameters.

        Args:
            slices: which part of each parameter the subnet has.
        """
        self.deposit()
        leaves: list[_Leaf] = []
        copies: list[_Leaf] = []  # of slices

        def view(parameter: Tensor, *sizes: int) -> Tensor:
            piece = slices(self._whole(parameter), *sizes)
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
            self._subnets.append((slices, leaves))
        return weights

    def deposit(self) -> None:
        waiting = []
        for slices, leaves in self._subnets:
            if leaves[0][1].grad is None:
                waiting.append((slices, leaves))
            else:
                _deposit(slices, leaves)
        self._subnets = waiting

    def _whole(self, parameter: Tensor) -> Tensor:
        if parameter not in self._cast:
            dtype = self.dtype if parameter.dim() > 1 else parameter.dtype
            self._cast[parameter] = parameter.detach().to(dtype)
        return self._cast[parameter]


def _dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def _deposit(slices: View, leaves: Sequence[_Leaf]) -> None:
    """Add the gradients of one subnet, whose leaves belong to different parameters."""
    zeros: list[Tensor] = []
    sums: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}  # parts, and what is added to them
    for parameter, leaf in leaves:
        gradient, leaf.grad = leaf.grad, None
        assert gradient is not None
        if parameter.grad is None and gradient.shape == parameter.shape:
            parameter.grad = gradient.to(parameter.dtype)
            continue
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
            zeros.append(parameter.grad)
        parts, gradients = sums.setdefault(gradient.dtype, ([], []))
        parts.append(slices(parameter.grad, *gradient.shape))
        gradients.append(gradient)
    if zeros:
        torch._foreach_zero_(zeros)
    for parts, gradients in sums.values():
        torch._foreach_add_(parts, gradients)


class GradientMean:
    """Replaces gradients by their mean over all processes, in one reduction of one buffer, which lasts.

    The gradients are copied into the buffer in one operation, and lie in it until they are freed.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffer: Tensor | None = None

    def __call__(self, parameters: Iterable[nn.Parameter], extra: Tensor) -> Tensor:
        """Average all gradients and `extra`.

        Parameters without a gradient stay without one; which those are is the same everywhere,
        because all processes draw the same archs.

        Args:
            extra: numbers [N] to be averaged along, such as losses.

        Returns:
            The mean of `extra`.
        """
        if self._world.size == 1:
            return extra
        used = [parameter for parameter in parameters if parameter.grad is not None]
        gradients = [parameter.grad for parameter in used if parameter.grad is not None]
        sizes = [gradient.numel() for gradient in gradients]
        numbers, like = sum(sizes) + len(extra), used[0] if used else extra
        if self._buffer is None or len(self._buffer) < numbers:
            self._buffer = torch.empty(numbers, dtype=like.dtype, device=like.device)
        flat = self._buffer[:numbers]
        *parts, last = torch.split(flat, [*sizes, len(extra)])
        # Each part has its parameter's memory order, so nothing is transposed on the way.
        views = [part.as_strided(each.shape, each.stride()) for part, each in zip(parts, used, strict=True)]
        torch._foreach_copy_([*views, last], [*gradients, extra])
        dist.all_reduce(flat)
        flat /= self._world.size
        for parameter, view in zip(used, views, strict=True):
            parameter.grad = view
        return last.to(extra.dtype, copy=True)


def convolve(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Convolve [B, inputs, H, W] with [out, inputs / groups, kernel, kernel], padded by half the kernel."""
    rows, columns = (len(range(0, side, stride)) for side in x.shape[2:])  # a window at every stride-th pixel
    if groups > 1 or x.device.type != "cpu" or x.shape[1] < _CHANNELS_PER_PIXEL * rows * columns:
        return convolve_plainly(x, weight, stride, groups)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    product: Tensor = _Product.apply(x, weight, stride)
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        windows = _windows(x, weight.shape[-1], stride)
        out = windows.flatten(0, 2) @ _rows(weight).t()  # [B * H' * W', out]
        return out.view(*windows.shape[:3], -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, weight.shape[0])  # [B * H' * W', out]
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            parts = (rows @ _rows(weight)).view(len(x), *gradient.shape[2:], kernel, kernel, x.shape[1])
            of_x = _overlaid(parts, x, ctx.stride)
        if ctx.needs_input_grad[1]:
            flat = rows.t() @ _windows(x, kernel, ctx.stride).flatten(0, 2)
            of_weight = flat.view(-1, kernel, kernel, x.shape[1]).permute(0, 3, 1, 2)
        return of_x, of_weight, None


def _rows(weight: Tensor) -> Tensor:
    """[out, kernel * kernel * inputs]; a view of weights in channels-last order."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)


def _windows(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The window of each output pixel: [B, H', W', kernel * kernel * inputs]."""
    margin = kernel // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))  # [B, H + 2m, W + 2m, inputs]
    windows = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # [B, H', W', inputs, kernel, kernel]
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(3)


def _overlaid(parts: Tensor, x: Tensor, stride: int) -> Tensor:
    """The sum of all windows [B, H', W', kernel, kernel, inputs], each at its place in an image of the size of `x`."""
    batch, channels, height, width = x.shape
    _, rows, columns, kernel, *_ = parts.shape
    margin = kernel // 2
    # Sums of many bfloat16 numbers would lose the precision of the product.
    dtype = torch.promote_types(x.dtype, torch.float32)
    total = torch.zeros(batch, height + 2 * margin, width + 2 * margin, channels, dtype=dtype)
    for dy in range(kernel):
        for dx in range(kernel):
            total[:, dy : dy + rows * stride : stride, dx : dx + columns * stride : stride] += parts[:, :, :, dy, dx]
    inner = total[:, margin : margin + height, margin : margin + width]
    return inner.permute(0, 3, 1, 2).to(x.dtype, memory_format=torch.channels_last)
