"""The null device's counters, and where a program waits for it."""

import ctypes
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

NAMES = (
    "launches host_to_device device_to_host device_to_device host_to_device_bytes device_to_host_bytes"
    " device_to_device_bytes waits allocations frees events cudnn cublas nccl memsets pinned pageable norms linear_algebra"
    " graphs"
).split()


class Device:
    """The library that was preloaded."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.null_get.restype = self._library.null_touched.restype = ctypes.c_long
        self._library.null_set_mb.argtypes = [ctypes.c_long]

    def counts(self) -> dict[str, int]:
        """All counters since the start of the process."""
        return {name: self._library.null_get(number) for number, name in enumerate(NAMES)}

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
        if "synchroniz" not in str(message):
            return shown(message, category, filename, lineno, file, line)
        frame = sys._getframe()
        while frame and f"{os.sep}fewshot_nas{os.sep}" not in frame.f_code.co_filename:
            frame = frame.f_back
        code = frame.f_code if frame else None
        found[f"{code.co_filename.rpartition(f'fewshot_nas{os.sep}')[2]} {code.co_name}" if code else filename] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
