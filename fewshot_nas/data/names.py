"""A list of strings in one buffer, because a million Python strings are slow and large."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Names(Sequence[str]):
    """Strings that lie one after the other in one buffer.

    Forked workers share the buffer. They would copy Python strings, because reading one changes its
    reference count.

    Attributes:
        text: all strings in UTF-8; file names that are not valid UTF-8 keep their bytes.
        ends: the end of each string in `text`, int64 [N].
    """

    text: bytes
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """The buffer that holds these names."""
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        return cls(b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> "Names": ...

    def __getitem__(self, index: int | slice) -> "str | Names":
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        index = range(len(self))[index]
        start = int(self.ends[index - 1]) if index else 0
        return self.text[start : int(self.ends[index])].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def select(self, indices: Iterable[int]) -> "Names":
        """The names at `indices`, in their order."""
        return Names.of(self[index] for index in indices)
