"""Offers of paths to the board, collected so that a step waits neither for the device nor for another process."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fewshot_nas.distributed import World, broadcast
from fewshot_nas.space.space import Arch
from fewshot_nas.training.board import Board, BoardEntry

HELD = 16  # the most offers that wait; each holds a few images


class Offers:
    """Paths that wait to be offered to the board, which is the same on all processes.

    A path's accuracy is averaged over the processes together with the step's losses, and is read
    when the board is needed. All processes read the same values, so they decide alike. The images
    and answers of an entry are rank 0's; only those of accepted entries are sent.
    """

    def __init__(self, board: Board[Arch], world: World) -> None:
        self._board, self._world = board, world
        self._waiting: list[tuple[BoardEntry[Arch], Tensor]] = []
        self._own: list[BoardEntry[Arch]] = []  # entries on the board that still have this process's images

    def add(self, entry: BoardEntry[Arch], right: Tensor) -> None:
        """Keep a path, to offer it later.

        Args:
            entry: without its accuracy.
            right: share of correctly classified images, a scalar; it has to be the mean over all
                processes by the time of the next call.
        """
        if len(self._waiting) == HELD:
            self.decide()
        self._waiting.append((entry, right))

    def decide(self) -> None:
        """Offer all waiting paths to the board; no other process is needed."""
        if not self._waiting:
            return
        shares = torch.stack([right for _, right in self._waiting]).tolist()
        for (entry, _), share in zip(self._waiting, shares, strict=True):
            measured = replace(entry, accuracy=100 * share)
            self._board.offer(measured)
            self._own.append(measured)
        self._waiting.clear()
        self._own = self._on_board(self._own)

    def share(self) -> None:
        """Send rank 0's images and answers to all processes; all of them must call this."""
        own, self._own = self._on_board(self._own), []
        if self._world.size == 1 or not own:
            return
        tensors = [tensor for entry in own for tensor in (entry.images, entry.softmax)]
        values = broadcast(torch.cat([tensor.flatten() for tensor in tensors]), self._world)
        for tensor, part in zip(tensors, torch.split(values, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def _on_board(self, entries: Sequence[BoardEntry[Arch]]) -> list[BoardEntry[Arch]]:
        """Those of the entries that are on the board, in its order, which is the same on all processes."""
        return [entry for entry in self._board.entries if any(entry is each for each in entries)]
