"""Counts operations: about what a GPU would launch, found without one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_MEMORY = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")  # reserved, not written


class Operations(TorchDispatchMode):
    """Counts by name, in `counts`, all operations but views and reservations of memory.

    One that takes lists of tensors counts once, as a GPU does them in one launch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not (func.is_view or name in _MEMORY or name.startswith("_record_function")):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def operations(work: Callable[[], object]) -> Counter[str]:
    """How many of each kind some work consists of."""
    with Operations() as mode:
        work()
    return mode.counts
