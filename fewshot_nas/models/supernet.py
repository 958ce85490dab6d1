"""The supernet: one network with the weights of every subnet of a space, split into groups; and its modules.

A subnet's block is a part of a stored one. Widths take *leading* channels, as in once-for-all (arXiv:1908.09791) and
BigNAS (arXiv:2003.11142), and a small kernel is the centre of a larger one. Single networks have the same modules.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_nas.models.batch import BatchShare, dropped
from fewshot_nas.models.run import (
    EPS,
    BlockTensors,
    ConvNorm,
    Gate,
    HeadTensors,
    SubnetTensors,
    activate,
    convolve_plainly,
    ended,
    normalised,
    run,
    run_subnet,
)
from fewshot_nas.space.block import Block, Head, Op, Placed
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import Home, Split


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


class Layer(nn.Module):
    """The weights of one operation.

    Args:
        tracks: whether the norm has running statistics. A supernet's norms have none, because
            statistics of many subnets fit none of them.
    """

    def __init__(self, op: Op, *, tracks: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(op.inputs, op.out, op.kernel, op.stride, op.kernel // 2, groups=op.groups, bias=False)
        self.norm = nn.BatchNorm2d(op.out, eps=EPS, track_running_stats=tracks)
        self.reduce = nn.Conv2d(op.out, op.squeeze, 1) if op.squeeze else None
        self.expand = nn.Conv2d(op.squeeze, op.out, 1) if op.squeeze else None

    @property
    def gate(self) -> Gate | None:
        """The squeeze-and-excitation, if there is one."""
        if self.reduce is None or self.expand is None:
            return None
        assert self.reduce.bias is not None
        assert self.expand.bias is not None
        return Gate(self.reduce.weight, self.reduce.bias, self.expand.weight, self.expand.bias)

    def tensors(self, op: Op, view: View) -> ConvNorm:
        """The part of the weights that an operation of these sizes uses."""
        conv = view(self.conv.weight, op.out, op.inputs // op.groups, op.kernel, op.kernel)
        weight, bias, gate = view(self.norm.weight, op.out), view(self.norm.bias, op.out), self.gate
        if gate is not None:
            gate = Gate(
                view(gate.reduce, op.squeeze, op.out),
                view(gate.reduce_bias, op.squeeze),
                view(gate.expand, op.out, op.squeeze),
                view(gate.expand_bias, op.out),
            )
        return ConvNorm(conv, weight, bias, gate)


class BlockLayers(nn.Module):
    """The weights of a block; called with [B, inputs, H, W], it is the block of a single network.

    Args:
        block: the sizes; in a supernet, the largest ones of all blocks that the weights serve.
    """

    def __init__(self, block: Block, *, tracks: bool) -> None:
        super().__init__()
        self.block = block
        self.main = nn.ModuleList(Layer(op, tracks=tracks) for op in block.main)
        self.shortcut = nn.ModuleList(Layer(op, tracks=tracks) for op in block.shortcut or ())

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(x, None)

    def shared(self, x: Tensor, share: BatchShare | None) -> Tensor:
        """As `forward`, of this process's share of a batch that several train on.

        It is a method of its own, because tracing makes every argument of `forward` a value that nobody knows.
        """
        apply = _apply if share is None else partial(_apply, share=share)
        return run(self.block, self.layers(self.main), self.layers(self.shortcut), x, apply)

    def tensors(self, block: Block, stage: int, view: View) -> BlockTensors:
        """The part of the weights that a block of these sizes uses."""
        main = zip(self.layers(self.main), block.main, strict=True)
        shortcut = zip(self.layers(self.shortcut), block.shortcut or (), strict=False)
        return BlockTensors(
            block,
            stage,
            tuple(layer.tensors(op, view) for layer, op in main),
            tuple(layer.tensors(op, view) for layer, op in shortcut),
        )

    @staticmethod
    def layers(modules: nn.ModuleList) -> list[Layer]:
        return [module for module in modules if isinstance(module, Layer)]


def _apply(op: Op, unit: Layer, x: Tensor, plus: Tensor | None = None, *, share: BatchShare | None = None) -> Tensor:
    # The module in evaluation, because exporters name what they trace by modules.
    x = convolve_plainly(x, unit.conv.weight, op.stride, op.groups) if unit.training else unit.conv(x)
    return ended(op, _normalised(unit.norm, x, share), plus)


def _normalised(norm: nn.BatchNorm2d, x: Tensor, share: BatchShare | None) -> Tensor:
    if share is None:
        y: Tensor = norm(x)
        return y
    assert norm.training
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    running = norm.running_mean, norm.running_var
    return normalised(x, norm.weight, norm.bias, share, running, norm.momentum or 0.0)


class HeadLayers(nn.Module):
    """The weights after the mean over pixels; called with the last map [B, C, H, W], it gives logits [B, classes].

    Attributes:
        dropout: share of the features that a single network drops before the classifier, in training mode.
    """

    def __init__(self, head: Head, num_classes: int) -> None:
        super().__init__()
        self.head, self.dropout = head, 0.0
        self.hidden = nn.Linear(head.inputs, head.hidden) if head.hidden else None
        self.linear = nn.Linear(head.hidden or head.inputs, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(x, None)

    def shared(self, x: Tensor, share: BatchShare | None) -> Tensor:
        """As `forward`, of this process's share of a batch that several train on."""
        x = x.mean((2, 3))
        if self.hidden is not None:
            x = activate(self.hidden(x), self.head.act)
        if self.dropout:
            x = dropped(x, partial(F.dropout, p=self.dropout, training=self.training), share, x.shape[1])
        logits: Tensor = self.linear(x)
        return logits if share is None else share.weighed(logits)

    def tensors(self, head: Head, view: View) -> HeadTensors:
        """The part of the weights that a head of these sizes uses."""
        hidden = None
        if self.hidden is not None:
            hidden = view(self.hidden.weight, head.hidden, head.inputs), view(self.hidden.bias, head.hidden)
        classes = self.linear.out_features
        weight = view(self.linear.weight, classes, head.hidden or head.inputs)
        return HeadTensors(head, hidden, weight, view(self.linear.bias, classes))


def initialise(network: nn.Module, *, as_shortcuts: bool = True) -> None:
    """Draw fresh weights, in place.

    Convolutions are initialised as in arXiv:1502.01852, and so is a hidden layer, which is a 1x1 convolution of one
    pixel; the classifier after it is as in timm's networks of that kind. The norms keep torch's weight 1 and bias 0.
    Nothing is drawn for a blueprint.

    Args:
        as_shortcuts: the last norm of each block with a shortcut has weight 0, so that at first the block equals its
            shortcut (arXiv:1706.02677).
    """
    if next(network.parameters()).is_meta:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2 // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2) / math.sqrt(fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        elif as_shortcuts and isinstance(module, BlockLayers) and module.block.shortcut is not None:
            nn.init.zeros_(module.layers(module.main)[-1].norm.weight)
    for module in network.modules():
        if isinstance(module, HeadLayers) and module.hidden is not None:
            nn.init.normal_(module.hidden.weight, std=math.sqrt(2 / module.hidden.out_features))
            most = 1 / math.sqrt(module.linear.out_features)
            nn.init.uniform_(module.linear.weight, -most, most)


class Supernet(nn.Module):
    """The weights of all subnets. The subnet to run is an argument of `forward`; the supernet does not store it.

    The split says which stored tensors serve a block: the tensors of one group at one place (few-shot NAS,
    arXiv:2006.06863), as large as its largest member needs. Batch norms always use the statistics of the batch,
    even after `eval()`.

    Attributes:
        source: the file that it was read from.
        trained_on: facts about its training images, their classes among them; empty where nobody knows.
        two_sided: whether subnets were trained with the last channels, too; then they are scored by both (`sides.py`).
    """

    def __init__(self, split: Split, num_classes: int) -> None:
        super().__init__()
        self.trained_on: Mapping[str, Any] = {}
        self.source: Path | None = None
        self.two_sided = False
        self.split, self.space, self.num_classes = split, split.space, num_classes
        self.blocks = nn.ModuleDict(
            {_key(home): BlockLayers(block, tracks=False) for home, block in split.homes.items()}
        )
        self.heads = nn.ModuleDict({_key(home): HeadLayers(head, num_classes) for home, head in split.heads.items()})
        initialise(self, as_shortcuts=split.space.starts_as_shortcuts)

    def forward(
        self,
        x: Tensor,
        arch: Arch,
        *,
        dropout: float = 0.0,
        drop_connect: float = 0.0,
        share: BatchShare | None = None,
    ) -> Tensor:
        """Logits [B, classes] of one subnet for images [B, C, H, W].

        Args:
            dropout, drop_connect, share: see `run.run_subnet`; the first two are used in training mode only.
        """
        if not self.training:
            dropout = drop_connect = 0.0
        return run_subnet(self.tensors(arch), x, dropout=dropout, drop_connect=drop_connect, share=share)

    def tensors(self, arch: Arch, view: View = part) -> SubnetTensors:
        """The tensors of one subnet.

        Args:
            view: makes a tensor from a parameter; called once per tensor.
        """
        blocks = tuple(self.block_tensors(placed, view) for placed in self.split.network(arch))
        return SubnetTensors(blocks, self.head_tensors(*self.split.head(arch), view))

    def block_tensors(self, placed: Placed, view: View = part) -> BlockTensors:
        module = self.stored(placed.home)
        assert isinstance(module, BlockLayers)
        return module.tensors(placed.block, self.space.places[placed.home[0]].stage, view)

    def head_tensors(self, head: Head, home: Home, view: View = part) -> HeadTensors:
        """The tensors of what follows the last block."""
        module = self.stored(home)
        assert isinstance(module, HeadLayers)
        return module.tensors(head, view)

    def stored(self, home: Home) -> nn.Module:
        """The weights of a group at a place: `BlockLayers`, or `HeadLayers` at the place after all others."""
        kind = self.heads if home[0] == len(self.space.places) else self.blocks
        return kind[_key(home)]


def _key(home: Home) -> str:
    return f"{home[0]}_{home[1]}"
