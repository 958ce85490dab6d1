"""The supernet of the Cream space: the weights of every path of given depths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from fewshot_nas.cream.child import child_network
from fewshot_nas.cream.paths import CHOICES, STAGES, CreamPath, check_path
from fewshot_nas.errors import InputError


class CreamSupernet(nn.Module):
    """A network in which every choice of every block has its own weights and batch norms; the path is an argument.

    Parameters that a path does not use get no gradient (None, not zeros), so the optimizer changes
    neither these weights nor their momentum.

    Args:
        depths: number of blocks of the stages 1..5.
    """

    def __init__(self, depths: Sequence[int], num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        self.depths, self.num_classes, self.in_channels = tuple(depths), num_classes, in_channels
        # The network of the path with one choice everywhere has this choice's block for every place.
        uniform: list[Any] = [
            self._child(tuple((choice,) * depth for depth in self.depths)) for choice in range(len(CHOICES))
        ]
        self.stages = nn.ModuleList(
            nn.ModuleList(nn.ModuleList(child.blocks[stage][place] for child in uniform) for place in range(depth))
            for stage, depth in enumerate(self.depths, start=1)
        )
        self.frame = uniform[0]
        for stage in range(1, len(STAGES) + 1):
            self.frame.blocks[stage] = nn.Sequential()

    def forward(self, x: Tensor, path: CreamPath) -> Tensor:
        """Logits [B, classes] of a path for images [B, C, H, W].

        Raises:
            InputError: the path is malformed, or has other depths.
        """
        first, *_, last = self.frame.blocks
        x = first(self.frame.bn1(self.frame.conv_stem(x)))
        for block in self._chosen(path):
            x = block(x)
        logits: Tensor = self.frame.forward_head(last(x))
        return logits

    def extract(self, path: CreamPath) -> nn.Module:
        """The stand-alone network of a path, with copies of weights and norms; its mode is the supernet's."""
        child: Any = self._child(path).to(next(self.parameters()).device)
        child.load_state_dict(self.frame.state_dict(), strict=False)  # all parts but the blocks
        blocks = (block for stage in child.blocks[1:-1] for block in stage)
        for block, chosen in zip(blocks, self._chosen(path), strict=True):
            block.load_state_dict(chosen.state_dict())
        child.train(self.training)
        return child  # type: ignore[no-any-return]

    def _child(self, path: CreamPath) -> nn.Module:
        return child_network(path, self.num_classes, self.in_channels)

    def _chosen(self, path: CreamPath) -> Iterator[nn.Module]:
        """The blocks of a path, in order."""
        if tuple(map(len, check_path(path))) != self.depths:
            raise InputError(f"the path has depths {tuple(map(len, path))}, expected the supernet's {self.depths}")
        for stage, choices in zip(self.stages, path, strict=True):
            for place, choice in zip(stage, choices, strict=True):  # type: ignore[call-overload]
                yield place[choice]


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
