"""The prioritized board (arXiv:2010.15821): the best candidates found so far, with their accuracies and answers.

A candidate may be of any type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError

C = TypeVar("C")


@dataclass(frozen=True, eq=False)  # equality would compare tensors
class BoardEntry(Generic[C]):
    """A candidate and its measurements.

    Attributes:
        accuracy: in percent.
        cost: in any unit, as long as all entries of the board use the same.
        images: some of the images that it was measured on [S, C, H, W]; empty on a board that does
            not compare the answers of its entries.
        softmax: the candidate's probabilities for these images [S, classes].
    """

    candidate: C
    accuracy: float
    cost: float
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    softmax: Tensor = field(default_factory=lambda: torch.empty(0))


class Board(Generic[C]):
    """At most `size` entries with different candidates, the most accurate first.

    If accuracies are equal, the cheaper entry comes first, then the older one.

    Args:
        gap: percentage points by which a more expensive candidate must beat the last entry of a full board.
    """

    def __init__(self, size: int, gap: float = 5.0) -> None:
        if size < 1:
            raise InputError(f"the board's size is {size}, expected at least 1")
        self._size, self._gap = size, gap
        self._entries: list[BoardEntry[C]] = []

    @property
    def entries(self) -> tuple[BoardEntry[C], ...]:
        """All entries, the best first."""
        return tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, entry: BoardEntry[C]) -> None:
        """Add a candidate if it is good enough.

        If the candidate is already on the board, it gets its new accuracy, because the old one was
        measured with older weights. If the board is full, the candidate replaces the last entry if it
        is more accurate and cheaper, or more accurate by more than the gap.
        """
        others = [other for other in self._entries if other.candidate != entry.candidate]
        if len(others) == self._size:
            if not self._beats(entry, others[-1]):
                return
            others.pop()
        self._entries = sorted([*others, entry], key=_rank)

    def replace(self, entries: Iterable[BoardEntry[C]]) -> None:
        """Keep nothing but the best of these, whose candidates differ, whatever was there before."""
        self._entries = sorted(entries, key=_rank)[: self._size]

    def state_dict(self) -> dict[str, Any]:
        """The entries as plain values and tensors."""
        return {"entries": [dict(vars(entry)) for entry in self._entries]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned.

        Raises:
            InputError: there are more entries than this board can hold.
        """
        entries: list[BoardEntry[C]] = [BoardEntry(**entry) for entry in state["entries"]]
        if len(entries) > self._size:
            raise InputError(f"the board to restore has {len(entries)} entries, expected at most {self._size}")
        self._entries = entries

    def _beats(self, entry: BoardEntry[C], last: BoardEntry[C]) -> bool:
        ahead = entry.accuracy - last.accuracy
        return ahead > self._gap or (ahead > 0 and entry.cost < last.cost)


def _rank(entry: BoardEntry[Any]) -> tuple[float, float]:
    return -entry.accuracy, entry.cost
