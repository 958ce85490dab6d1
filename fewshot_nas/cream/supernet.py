"""The supernet of the Cream space: the weights of every path of given depths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fewshot_nas.cream.child import child_network
from fewshot_nas.cream.paths import CHOICES, STAGES, CreamPath, check_path
from fewshot_nas.cream.space import PUBLISHED, CreamSpace
from fewshot_nas.errors import InputError


class CreamSupernet(nn.Module):
    """A network in which every choice of every block has its own weights and batch norms; the path is an argument.

    Parameters that a path does not use get no gradient (None, not zeros), so the optimizer changes
    neither these weights nor their momentum.

    At the beginning all choices of a block may share the weights of the dearest one, its last: a narrower block is its
    leading channels, a smaller kernel its centre. Choices that begin at random each must learn the output of every
    choice before them, and in a short search they hardly do.

    Attributes:
        shared: whether weights are shared; `inherit` ends that.

    Args:
        depths: number of blocks of the stages 1..5.
    """

    def __init__(
        self, depths: Sequence[int], num_classes: int, in_channels: int = 3, space: CreamSpace = PUBLISHED
    ) -> None:
        super().__init__()
        self.depths, self.num_classes, self.in_channels, self.space = tuple(depths), num_classes, in_channels, space
        # The network of the path with one choice everywhere has this choice's block for every place.
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
        self.shared = False

    def forward(self, x: Tensor, path: CreamPath) -> Tensor:
        """Logits [B, classes] of a path for images [B, C, H, W].

        Raises:
            InputError: the path is malformed, or has other depths.
        """
        x = self.before(x)
        for block, dearest in zip(self.chosen(path), self._dearest(), strict=True):
            x = functional_call(block, _parts(dearest, block), (x,)) if self.shared else block(x)
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
        """The stand-alone network of a path, with copies of weights and norms; its mode is the supernet's."""
        child: Any = self._child(path).to(next(self.parameters()).device)
        child.load_state_dict(self.frame.state_dict(), strict=False)  # all parts but the blocks
        blocks = (block for stage in child.blocks[1:-1] for block in stage)
        for block, chosen in zip(blocks, self.chosen(path), strict=True):
            block.load_state_dict(chosen.state_dict())
        child.train(self.training)
        return child  # type: ignore[no-any-return]

    @torch.no_grad()
    def inherit(self) -> None:
        """Give every choice a copy of its part of the shared weights; from now on each has its own."""
        for block, dearest in self._pairs():
            for parameter, part in zip(block.parameters(), _parts(dearest, block).values(), strict=True):
                parameter.copy_(part)
        self.shared = False

    def _dearest(self) -> Iterator[nn.Module]:
        """The last choice of every block, in order."""
        for *_, dearest in self._places():
            yield dearest

    def _pairs(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Every choice but the dearest, with the dearest at the same place."""
        for *others, dearest in self._places():
            yield from ((block, dearest) for block in others)

    def _places(self) -> Iterator[list[nn.Module]]:
        """The choices of every block, in order."""
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for place in stage:
                assert isinstance(place, nn.ModuleList)
                yield list(place)

    def _child(self, path: CreamPath) -> nn.Module:
        return child_network(path, self.num_classes, self.in_channels, space=self.space)

    def chosen(self, path: CreamPath) -> Iterator[nn.Module]:
        """The blocks of a path, in order.

        Raises:
            InputError: the path is none, or has other depths.
        """
        if tuple(map(len, check_path(path))) != self.depths:
            raise InputError(f"the path has depths {tuple(map(len, path))}, expected the supernet's {self.depths}")
        for place, choice in zip(self._places(), chain.from_iterable(path), strict=True):
            yield place[choice]


def _parts(dearest: nn.Module, block: nn.Module) -> dict[str, Tensor]:
    """The weights of a block as views of the dearest one's."""
    whole = dict(dearest.named_parameters())
    return {name: _part(whole[name], each) for name, each in block.named_parameters()}


def _part(whole: Tensor, smaller: Tensor) -> Tensor:
    """Leading channels (dimensions 0 and 1) and the centre of a kernel (2 and 3), in the shape of the smaller."""
    for dimension, (size, kept) in enumerate(zip(whole.shape, smaller.shape, strict=True)):
        whole = whole.narrow(dimension, (size - kept) // 2 if dimension > 1 else 0, kept)
    return whole


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let batch norms in training mode normalise by the batch without updating their running statistics.

    This is for the forward passes of teachers and for the matching network, which must not influence
    the statistics that the trained path is evaluated with.
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
