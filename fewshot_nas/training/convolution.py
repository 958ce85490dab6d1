"""Convolutions as one matrix product, where this is faster on a CPU.

In the last stages of small images, feature maps have few pixels and hundreds of channels. For these,
torch's convolutions use only a small part of the processor's speed, especially in the backward pass.
The product of all windows with the weights uses most of it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_nas.models.run import convolve_plainly
from fewshot_nas.space.block import side_after

_CHANNELS_PER_PIXEL = 16  # input channels per pixel of the output, from which on the product is faster (measured)


def convolve(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Convolve [B, inputs, H, W] with [out, inputs / groups, kernel, kernel], padded by half the kernel."""
    pixels = side_after(x.shape[2], stride) * side_after(x.shape[3], stride)
    if groups > 1 or x.device.type != "cpu" or x.shape[1] < _CHANNELS_PER_PIXEL * pixels:
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
        batch, _, height, width = x.shape
        out = _windows(x, weight.shape[-1], stride) @ _rows(weight).t()  # [B * H' * W', out]
        return out.view(batch, side_after(height, stride), side_after(width, stride), -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, weight.shape[0])  # [B * H' * W', out]
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _overlaid(rows @ _rows(weight), x, kernel, ctx.stride)
        if ctx.needs_input_grad[1]:
            flat = rows.t() @ _windows(x, kernel, ctx.stride)
            of_weight = flat.view(-1, kernel, kernel, x.shape[1]).permute(0, 3, 1, 2)
        return of_x, of_weight, None


def _rows(weight: Tensor) -> Tensor:
    """[out, kernel * kernel * inputs]; a view of weights in channels-last order."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)


def _windows(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The window of each output pixel: [B * H' * W', kernel * kernel * inputs]."""
    margin = kernel // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))  # [B, H + 2m, W + 2m, inputs]
    windows = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # [B, H', W', inputs, kernel, kernel]
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * x.shape[1])


def _overlaid(windows: Tensor, x: Tensor, kernel: int, stride: int) -> Tensor:
    """The sum of all windows, each at its place in an image of the size of `x`: the transpose of `_windows`."""
    batch, channels, height, width = x.shape
    rows, columns, margin = side_after(height, stride), side_after(width, stride), kernel // 2
    parts = windows.view(batch, rows, columns, kernel, kernel, channels)
    # Sums of many bfloat16 numbers would lose the precision of the product.
    dtype = torch.promote_types(x.dtype, torch.float32)
    total = torch.zeros(batch, height + 2 * margin, width + 2 * margin, channels, dtype=dtype)
    for dy in range(kernel):
        for dx in range(kernel):
            total[:, dy : dy + rows * stride : stride, dx : dx + columns * stride : stride] += parts[:, :, :, dy, dx]
    inner = total[:, margin : margin + height, margin : margin + width]
    return inner.permute(0, 3, 1, 2).to(x.dtype, memory_format=torch.channels_last)
