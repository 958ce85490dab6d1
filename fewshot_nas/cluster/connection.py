"""Joining a Ray cluster, or starting one on this machine for the length of a command."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from fewshot_nas.cli.errors import InputError
from fewshot_nas.computing import Settings

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
