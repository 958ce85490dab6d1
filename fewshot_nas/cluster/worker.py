"""A worker: a process on some machine that gets its work once, and then the numbers of tasks."""

import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray

from fewshot_nas.computing import Settings, numerics
from fewshot_nas.distributed import World, joined
from fewshot_nas.version import __version__


class Packed(Protocol):
    """Work as it is sent to the workers."""

    def unpacked(self, world: World) -> Callable[[int], Any]:
        """Unpack the work on a worker: a function that computes a task by its number.

        Raises:
            InputError: it differs from what the driver has sent, or the worker cannot do it.
        """


@dataclass(frozen=True)
class WorkerInfo:
    """A worker's description of itself.

    Attributes:
        node: Ray's name of the machine.
        host: the machine's name and address, for messages.
        package: as `package()`.
        numerics: as `numerics.numerics`.
    """

    node: str
    host: str
    pid: int
    package: str
    numerics: dict[str, Any]

    def differences(self, expected: Mapping[str, Any]) -> list[str]:
        """The differences from what is expected, each with both values."""
        found = {"fewshot-nas": self.package, **self.numerics}
        pairs = ((key, found[key], value) for key, value in expected.items() if key in found)
        return [f"{key} {ours}, expected {value}" for key, ours, value in pairs if ours != value]


def package() -> str:
    """The version of this package with a digest of its source, which changes between releases too."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return f"{__version__} (source {digest.hexdigest()[:12]})"


class WorkerActor:
    """The object that runs as an actor of Ray.

    Args:
        device: as torch names it.
        settings: how to compute.
    """

    def __init__(self, device: str, settings: Settings) -> None:
        self._joined = ExitStack()  # held, because its end would undo the settings
        self._world = self._joined.enter_context(joined(device, settings))
        self._work: Callable[[int], Any] | None = None

    def describe(self) -> WorkerInfo:
        host = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
        node = ray.get_runtime_context().get_node_id()
        return WorkerInfo(node, host, os.getpid(), package(), numerics(self._world.device))

    def take(self, work: Packed) -> None:
        """Take the work that `compute` does from now on."""
        self._work = work.unpacked(self._world)

    def compute(self, number: int) -> Any:
        assert self._work is not None
        return self._work(number)
