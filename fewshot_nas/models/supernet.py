"""The supernet: one network with the weights of every subnet of a space, split into groups."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fewshot_nas.models.batch import BatchShare
from fewshot_nas.models.layers import BlockLayers, HeadLayers, initialise
from fewshot_nas.models.run import BlockTensors, HeadTensors, SubnetTensors, run_subnet
from fewshot_nas.models.view import View, part
from fewshot_nas.space.block import Head, Placed
from fewshot_nas.space.space import Arch
from fewshot_nas.space.split import Home, Split


class Supernet(nn.Module):
    """The weights of all subnets. The subnet to run is an argument of `forward`; the supernet does not store it.

    The split says which stored tensors serve a block: the tensors of one group at one place (few-shot NAS,
    arXiv:2006.06863), as large as its largest member needs. Batch norms always use the statistics of the batch,
    even after `eval()`.

    Attributes:
        source: the file that it was read from.
        trained_on: facts about its training images, their classes among them; empty where nobody knows.
    """

    def __init__(self, split: Split, num_classes: int) -> None:
        super().__init__()
        self.trained_on: Mapping[str, Any] = {}
        self.source: Path | None = None
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
        """The tensors of a block."""
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
