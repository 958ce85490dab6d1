"""The prioritized board (arXiv:2010.15821): the best candidates found so far, and what they said then.

Whatever is searched may stand on a board: the candidate's type is the caller's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from fewshot_nas.errors import InputError

C = TypeVar("C")


@dataclass(frozen=True, eq=False)  # equality would compare tensors
class BoardEntry(Generic[C]):
    """A candidate as it was measured.

    Attributes:
        accuracy: in percent.
        cost: in any unit, the same for all of a board.
        images: a few that it was measured on [S, C, H, W], for boards whose entries are compared
            by their answers; else none.
        softmax: its probabilities for them [S, classes].
    """

    candidate: C
    accuracy: float
    cost: float
    images: Tensor = field(default_factory=lambda: torch.empty(0))
    softmax: Tensor = field(default_factory=lambda: torch.empty(0))


class Board(Generic[C]):
    """At most `size` entries with different candidates, the most accurate first.

    Of equal accuracies the cheaper comes first, then the older.

    Args:
        gap: percentage points by which a dearer newcomer must beat the last entry.
    """

    def __init__(self, size: int, gap: float = 5.0) -> None:
        if size < 1:
            raise InputError(f"a board of {size} entries has no room, expected at least 1")
        self._size, self._gap = size, gap
        self._entries: list[BoardEntry[C]] = []

    @property
    def entries(self) -> tuple[BoardEntry[C], ...]:
        """All of them, best first."""
        return tuple(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, entry: BoardEntry[C]) -> None:
        """Take in a candidate if it is good enough.

        One that is on the board already is measured anew: its old accuracy was that of older
        weights. Into a full board comes who beats the last entry by the gap, or beats it and is
        cheaper.
        """
        others = [other for other in self._entries if other.candidate != entry.candidate]
        if len(others) == self._size:
            if not self._beats(entry, others[-1]):
                return
            others.pop()
        self._entries = sorted([*others, entry], key=lambda each: (-each.accuracy, each.cost))

    def state_dict(self) -> dict[str, Any]:
        """The entries as plain values and tensors."""
        return {"entries": [dict(vars(entry)) for entry in self._entries]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave.

        Raises:
            InputError: there are more entries than this board holds.
        """
        entries: list[BoardEntry[C]] = [BoardEntry(**entry) for entry in state["entries"]]
        if len(entries) > self._size:
            raise InputError(f"the board to take up has {len(entries)} entries, expected {self._size} at most")
        self._entries = entries

    def _beats(self, entry: BoardEntry[C], last: BoardEntry[C]) -> bool:
        ahead = entry.accuracy - last.accuracy
        return ahead > self._gap or (ahead > 0 and entry.cost < last.cost)
