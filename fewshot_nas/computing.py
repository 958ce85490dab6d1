"""How a process computes: threads, TF32, determinism, the allocator of GPUs; and what decides the last bits of results.

A notebook's own way of computing comes back afterwards.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF"
_BACKENDS: Any = torch.backends
Switches = Sequence[tuple[Any, str]]
_OLD: Switches = ((_BACKENDS.cuda.matmul, "allow_tf32"), (_BACKENDS.cudnn, "allow_tf32"))
_HAS_NEW = hasattr(_BACKENDS.cudnn, "conv")  # since torch 2.9
_NEW: Switches = tuple(
    (owner, "fp32_precision")
    for owner in ((_BACKENDS.cuda.matmul, _BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn) if _HAS_NEW else ())
)
_FILLING: Any = torch.utils.deterministic


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(Protocol):
    """How a process computes; `run` of the settings, where each is explained."""

    @property
    def threads(self) -> int: ...
    @property
    def tf32(self) -> bool: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def sync_norms(self) -> bool: ...
    @property
    def silence_s(self) -> float: ...


@dataclass(frozen=True)
class DefaultSettings:
    """The default settings of a process."""

    threads: int = 0
    tf32: bool = True
    deterministic: bool = False
    sync_norms: bool = True
    silence_s: float = 25.0


DEFAULTS = DefaultSettings()


@contextmanager
def computing(settings: Settings) -> Iterator[None]:
    """Compute as the settings say for a while."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    old, new, filled = _old(), _read(_NEW), _FILLING.fill_uninitialized_memory
    if settings.threads:
        torch.set_num_threads(settings.threads)
    # Both variables are read when a GPU is used first. Archs have many sizes: without segments that grow, a piece of
    # memory of one size is of no use for another, and a process takes up to 40 % more than it uses.
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if "PYTORCH_ALLOC_CONF" not in os.environ:
        os.environ.setdefault(_ALLOCATOR, "expandable_segments:True")
    _set(_OLD, [settings.tf32] * len(_OLD))
    _set(_NEW, ["tf32" if settings.tf32 else "ieee"] * len(_NEW))
    _be_deterministic(settings.deterministic)
    # Nothing here reads memory that was not written; to fill all of it with NaN costs a pass over each tensor.
    _FILLING.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _restore(old, new)
        _be_deterministic(deterministic)
        _FILLING.fill_uninitialized_memory = filled


def tf32() -> bool:
    """Whether convolutions or matrix products on GPUs may round their factors to 10 bits."""
    return any(value in (True, "tf32") for value in _read(_NEW if _HAS_NEW else _OLD))


def _read(switches: Switches) -> list[Any]:
    return [getattr(owner, name) for owner, name in switches]


def _set(switches: Switches, values: Sequence[Any]) -> None:
    for (owner, name), value in zip(switches, values, strict=True):
        setattr(owner, name, value)


def _old() -> list[Any]:
    """The old switches; what torch has at first if the new ones were used, for then it refuses to read the old ones."""
    try:
        return _read(_OLD)
    except RuntimeError:
        return [False, True]


def _restore(old: Sequence[Any], new: Sequence[Any]) -> None:
    """Set the old switches, which changes the new ones, and then these. One that follows a general one still does."""
    _set(_OLD, old)
    for (owner, name), value in zip(_NEW, new, strict=True):
        setattr(owner, name, "none")
        if getattr(owner, name) != value:
            setattr(owner, name, value)


def _be_deterministic(wanted: bool) -> None:
    if torch.are_deterministic_algorithms_enabled() != wanted:  # torch imports a compiler for it: seconds
        torch.use_deterministic_algorithms(wanted)


# What oneDNN calls its instruction sets (ONEDNN_MAX_CPU_ISA), from the largest down, and what a processor needs for it.
_ONEDNN = (
    ("AVX512_CORE_AMX", "amx_bf16"),
    ("AVX512_CORE_FP16", "avx512_fp16"),
    ("AVX512_CORE_BF16", "avx512_bf16"),
    ("AVX512_CORE_VNNI", "avx512_vnni"),
    ("AVX512_CORE", "avx512_bw"),
    ("AVX2", "avx2"),
    ("SSE41", "sse4_1"),
)


def numerics(device: torch.device) -> dict[str, Any]:
    """The numerics of this process, for manifests.

    If two processes agree in all of them, the same evaluation gives the same bits; otherwise scores are equal up to
    rounding.
    """
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "tf32": on_gpu and tf32(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "onednn_isa": onednn_isa(getattr(torch.cpu, "get_capabilities", dict)(), os.environ),
        "mkl_instructions": os.environ.get("MKL_ENABLE_INSTRUCTIONS", "all"),
    }


def onednn_isa(capabilities: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The largest of oneDNN's instruction sets that this processor has and the environment allows."""
    names = [name for name, needed in _ONEDNN if capabilities.get(needed)]
    allowed = environment.get("ONEDNN_MAX_CPU_ISA", "ALL").upper()
    known = [name for name, _ in _ONEDNN]
    if allowed in known:
        names = [name for name in names if known.index(name) >= known.index(allowed)]
    return names[0] if names else "unknown"
