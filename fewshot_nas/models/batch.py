"""A batch that several processes share: batch norms over all of it, and each image's own place in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Running = tuple[Tensor, Tensor]  # mean and variance [C] of a norm, float32
_MASK = (True, True, True)  # gradients of input, weight and bias


@dataclass(frozen=True)
class BatchShare:
    """Which images of a batch this process has. Where one process has them all, there is no share.

    Attributes:
        first: place in the batch of this process's first image.
        images: of this process.
        total: images of all processes.
        processes: that share the batch, in order of ranks.
        sync_norms: whether batch norms take the statistics of the whole batch, or of this share alone.
    """

    first: int
    images: int
    total: int
    processes: int
    sync_norms: bool = True

    @property
    def weight(self) -> float:
        """What a mean over this share counts in a mean over the processes, for it to be that over the batch."""
        return self.images * self.processes / self.total

    def weighed(self, logits: Tensor) -> Tensor:
        """Logits, whose gradients count as those of a mean over the batch and not over this share."""
        if logits.requires_grad and self.weight != 1:
            logits.register_hook(lambda gradient: gradient * self.weight)  # type: ignore[no-untyped-call]
        return logits


def dropped(x: Tensor, drop: Callable[[Tensor], Tensor], share: BatchShare | None, *sizes: int) -> Tensor:
    """What is left of x [B, ...] by `drop`, whose draws are those of a process that has the whole batch.

    Args:
        drop: multiplies by what it draws, with torch's generator.
        sizes: of what is drawn for an image.
    """
    if share is None:
        return drop(x)
    factors = drop(x.new_ones(share.total, *sizes))
    return x * factors[share.first : share.first + share.images]


class WholeBatchNorm(torch.autograd.Function):
    """A batch norm over the images of all processes, of which each has some.

    Each way has one small reduction: forwards of each process's mean, variance and number of values, backwards of sums
    of gradients. The variance comes from squares of distances to the means, because plain
    sums of squares lose it in float32 where the mean is large.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The output [B, C, H, W]; and the batch's mean [C], variance [C] and number of values, without gradient."""
        channels, none = len(weight), weight.new_zeros(2, len(weight))
        # Buffers of float32 keep the statistics in float32 where x is of bfloat16.
        own = torch.batch_norm_update_stats(x, none[0], none[1], 0.0)
        values = weight.new_full((1,), x.numel() // channels)
        rows = weight.new_zeros(dist.get_world_size(), 2 * channels + 1)
        torch.cat([*own, values], out=rows[dist.get_rank()])
        dist.all_reduce(rows)  # each row is one process's, and 0 in all others
        means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
        count = counts.sum()
        shares = counts / count
        mean = (shares * means).sum(0)
        var = (shares * (variances + (means - mean).square())).sum(0)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, count)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Those of weight and bias are this share's, as all gradients are until they are averaged."""
        x, weight, mean, var, count = ctx.saved_tensors
        # First as if the statistics were constants, which gives the sums too; then what the statistics pass on.
        # On the CPU it looks at mean and variance, on CUDA at what a forward pass would have saved.
        saved = mean, (var + ctx.eps).rsqrt()
        through, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, var, *saved, False, ctx.eps, _MASK
        )
        sums = torch.stack([by_weight, by_bias])
        dist.all_reduce(sums)
        slope, shift = sums * (-weight * saved[1] / count)
        through += F.batch_norm(x, mean, var, slope, shift, False, 0.0, ctx.eps)
        return through, by_weight, by_bias, None
