"""Joining a Ray cluster, or starting one for the length of a command; and a worker on one of its machines.

A worker is a process that gets its work once, and then the numbers of tasks.
"""

import hashlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import Settings, numerics
from fewshot_nas.distributed import World, joined
from fewshot_nas.version import __version__

_REACHED_S = 10.0


@dataclass(frozen=True)
class Needs:
    """The part of a machine that a worker needs.

    Attributes:
        device: as torch names it; None is a GPU if a machine of the cluster has one, else the CPU.
        settings: how the worker computes. Each thread takes a core. With 0 threads torch chooses their number, and
            the worker takes one core.
    """

    device: str | None
    settings: Settings

    def resolved(self) -> "Needs":
        """The same needs with the kind of device that the cluster has: `cuda` or `cpu`."""
        gpus = any("GPU" in node["Resources"] for node in nodes())
        kind = (self.device or ("cuda" if gpus else "cpu")).partition(":")[0]  # Ray says which GPU
        return Needs(kind, self.settings)

    @property
    def cores(self) -> int:
        return max(1, self.settings.threads)

    @property
    def gpus(self) -> int:
        """The GPUs of a worker: one or none."""
        return int(self.device == "cuda")

    def __str__(self) -> str:
        return f"cores: {self.cores}, GPUs: {self.gpus}"

    def fit_into(self, node: dict[str, Any]) -> int:
        has = node["Resources"]
        by_cores = int(has.get("CPU", 0)) // self.cores
        return min(by_cores, int(has.get("GPU", 0))) if self.gpus else by_cores


def nodes() -> list[dict[str, Any]]:
    """The machines that are there now, as `ray.nodes` describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


@contextmanager
def connected(address: str | None, cores: int, report: Callable[[str], None]) -> Iterator[None]:
    """Join a cluster as its driver.

    Args:
        address: of a cluster, `auto` or `ray://...`; without one, that of RAY_ADDRESS. If there is none, Ray is
            started on this machine.
        cores: the least number that a Ray started here offers, even if the machine has fewer.

    Raises:
        InputError: there is no cluster, or it has other versions.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_unreachable(address)
    try:
        with _our_signals():
            context = ray.init(address, **_options(address, cores))
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"--address is {address}, but no Ray cluster can be joined there ({said})") from None
    try:
        if context.dashboard_url:
            report(f"Ray's dashboard: http://{context.dashboard_url}")
        yield
    finally:
        ray.shutdown()


def _options(address: str, cores: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address != "local":
        return quiet
    # Ray gives its workers a low priority (a niceness of 15), but here they are what the machine is for.
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_worker_niceness"):
        os.environ.setdefault(name, "0")
    return {**quiet, "num_cpus": max(cores, os.cpu_count() or 1)}


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nothing answers; Ray would try for minutes."""
    if address in ("local", "auto"):
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise InputError(f"--address is {address!r}, expected auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=_REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address is {address}, but nothing answers there ({error})") from None


@contextmanager
def _our_signals() -> Iterator[None]:
    """Keep our handler of SIGTERM, which cleans up; Ray would end the process."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, before)


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
