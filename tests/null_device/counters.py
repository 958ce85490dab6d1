"""The null device's counters, and where a program waits for it."""

import ctypes
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

# Places in `counters` of device.c.
NAMES = {"launches": 0, "host_to_device": 1, "device_to_host": 2, "waits": 7, "nccl": 13, "pageable": 16, "graphs": 19}


class Device:
    """The library that was preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.null_get.restype = self._library.null_touched.restype = ctypes.c_long
        self._library.null_set_mb.argtypes = [ctypes.c_long]

    def counts(self) -> dict[str, int]:
        """All counters since the start of the process."""
        return {name: self._library.null_get(number) for name, number in NAMES.items()}

    def since(self, before: Mapping[str, int]) -> dict[str, int]:
        """All counters since `before`."""
        return {name: count - before[name] for name, count in self.counts().items()}

    def touched(self, device: int) -> bool:
        """Whether this process has computed on a device, or taken memory or a stream there."""
        return self._library.null_touched(device) > 0

    def set_mb(self, memory_mb: int) -> None:
        """Give each device another size."""
        self._library.null_set_mb(memory_mb)


@contextmanager
def waits() -> Iterator[Counter[str]]:
    """Count the places of this package at which the program waits for the device, by torch's own check."""
    found: Counter[str] = Counter()
    shown = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        if "synchroniz" in str(message):
            found[_place() or filename] += 1
        else:
            shown(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def _place() -> str:
    """The innermost function of this package that is being computed."""
    frame, package = sys._getframe(), f"{os.sep}fewshot_nas{os.sep}"
    while frame and package not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition(package)[2]} {frame.f_code.co_name}" if frame else ""
