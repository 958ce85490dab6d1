"""The numerics of a process: machine, libraries and settings that decide the last bits of its results."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from fewshot_nas.computing import tf32

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
        "onednn_isa": onednn_isa(_capabilities(), os.environ),
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


def _capabilities() -> Mapping[str, Any]:
    """The capabilities of this processor; older releases of torch do not report them."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)
    return dict(capabilities())
