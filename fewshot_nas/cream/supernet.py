"""One network that holds the weights of every path of given depths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fewshot_nas.cream.child import child_network
from fewshot_nas.cream.paths import CHOICES, STAGES, CreamPath, check_path
from fewshot_nas.cream.space import PUBLISHED, CreamSpace
from fewshot_nas.errors import InputError


class CreamSupernet(nn.Module):
    """Every choice of every block has weights and batch norms of its own; which run is an argument.

    What a path does not use gets no gradient at all (None, not zeros), so that an optimizer
    leaves those weights and their momentum as they are.

    Args:
        depths: blocks in each of the stages 1..5.
    """

    def __init__(
        self, depths: Sequence[int], num_classes: int, in_channels: int = 3, space: CreamSpace = PUBLISHED
    ) -> None:
        super().__init__()
        self.depths, self.num_classes, self.in_channels, self.space = tuple(depths), num_classes, in_channels, space
        # The child that takes one choice everywhere has that choice's block for every place.
        uniform: list[Any] = [
            self._child(tuple((choice,) * depth for depth in self.depths)) for choice in range(CHOICES)
        ]
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.ModuleList(child.blocks[stage][place] for child in uniform) for place in range(depth))
            for stage, depth in enumerate(self.depths, start=1)
        )
        self.frame = uniform[0]
        for stage in range(1, STAGES + 1):
            self.frame.blocks[stage] = nn.Sequential()

    def forward(self, x: Tensor, path: CreamPath) -> Tensor:
        """Logits [B, classes] of a path for images [B, C, H, W].

        Raises:
            InputError: the path is none, or has other depths.
        """
        x = self.before(x)
        for block in self.chosen(path):
            x = block(x)
        logits: Tensor = self.frame.forward_head(self.after(x))
        return logits

    @property
    def before(self) -> nn.Module:
        """What comes before all choices: stem and stage 0."""
        return nn.Sequential(self.frame.conv_stem, self.frame.bn1, self.frame.blocks[0])

    @property
    def after(self) -> nn.Module:
        """What comes after all choices, without the head: stage 6."""
        return self.frame.blocks[-1]  # type: ignore[no-any-return]

    def extract(self, path: CreamPath) -> nn.Module:
        """A path as a network of its own, with copies of weights and norms; in the supernet's mode."""
        child: Any = self._child(path).to(next(self.parameters()).device)
        child.load_state_dict(self.frame.state_dict(), strict=False)  # that is all but the blocks
        blocks = (block for stage in child.blocks[1:-1] for block in stage)
        for block, chosen in zip(blocks, self.chosen(path), strict=True):
            block.load_state_dict(chosen.state_dict())
        child.train(self.training)
        return child  # type: ignore[no-any-return]

    @torch.no_grad()
    def inherit(self) -> None:
        """Let every choice begin with its part of the dearest choice's weights at the same place.

        A narrower block takes the leading channels and a smaller kernel the centre, as slices of a supernet's largest
        subnet do. So all choices of a place speak the same language from their first step on.
        """
        for stage in self.stages:
            for place in stage:  # type: ignore[union-attr]
                *others, dearest = place
                whole = dearest.state_dict()
                for block in others:
                    block.load_state_dict({name: _part(whole[name], each) for name, each in block.state_dict().items()})

    def _child(self, path: CreamPath) -> nn.Module:
        return child_network(path, self.num_classes, self.in_channels, space=self.space)

    def chosen(self, path: CreamPath) -> Iterator[nn.Module]:
        """The blocks of a path, in order.

        Raises:
            InputError: the path is none, or has other depths.
        """
        if tuple(map(len, check_path(path))) != self.depths:
            raise InputError(f"the path has depths {tuple(map(len, path))}, expected the supernet's {self.depths}")
        for stage, choices in zip(self.stages, path, strict=True):
            for place, choice in zip(stage, choices, strict=True):  # type: ignore[call-overload]
                yield place[choice]


def _part(whole: Tensor, smaller: Tensor) -> Tensor:
    """Leading channels (dimensions 0 and 1) and the centre of a kernel (2 and 3), in the shape of the smaller."""
    for dimension, (size, kept) in enumerate(zip(whole.shape, smaller.shape, strict=True)):
        whole = whole.narrow(dimension, (size - kept) // 2 if dimension > 1 else 0, kept)
    return whole


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norms in training mode normalise by the batch and leave their own statistics alone.

    For forward passes beside the training, of teachers and for the matching network: what they
    see must not colour what the trained path will be evaluated with.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    tracking = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.track_running_stats = tracked
