"""A phase of training with parts that change while it goes on, so that its checkpoints contain them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fewshot_nas.training.supernet_task import SupernetTask


class Stateful(Protocol):
    """A part that changes."""

    def state_dict(self) -> Mapping[str, Any]:
        """Plain values and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Restore the state that `state_dict` returned."""


@dataclass(kw_only=True)
class RememberingTask(SupernetTask):
    """A phase with parts of its own.

    Attributes:
        memory: the parts by their keys in a checkpoint.
    """

    memory: Mapping[str, Stateful] = field(default_factory=dict)

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        """Write the parts too."""
        super().save(path, {**{name: part.state_dict() for name, part in self.memory.items()}, **state})

    def restore(self, content: Mapping[str, Any]) -> None:
        """Restore the parts too."""
        super().restore(content)
        for name, part in self.memory.items():
            part.load_state_dict(content[name])
