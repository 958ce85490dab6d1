"""Builds the null device: a `libcuda.so.1` that answers torch's CUDA build where there is no GPU.

Written by hand is what torch looks at (`device.c`, `libraries.c`, `nvml.c`); every other symbol that torch's libraries
ask for becomes a function that returns 0. What it tells is true of the host's side: which kernels are launched, how
often the program waits, which memory is copied, and, because the caching allocator is torch's own, how much memory is
reserved. What it cannot tell are numbers (nothing is computed) and times.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
CUDA = "13"  # the major version whose symbols and structures the files beside this one have
ASKING = ("libtorch_cuda.so", "libc10_cuda.so", "libtorch_python.so", "libtorch_cpu.so", "libtorch_cuda_linalg.so")
ASKING = (*ASKING, "libtorch_nvshmem.so", "libcaffe2_nvrtc.so")
ANSWERED = re.compile(
    r"(__cuda|cuda|cublas|cudnn|cusolver|cusparse|cufft|curand|nccl|cu[A-Z]|nvrtc|cupti|nvshmem|cuFile)\w*"
)
# Library calls that count as a kernel, with the number of their counter.
COUNTED = {
    12: re.compile(r"cublas.*([gG]emm|gemv|[dD]ot|getrf|getrs|trsm)|cublasLtMatmul$"),
    17: re.compile(r"cudnn(BatchNorm|Pooling|Convolution|RNN)"),
    18: re.compile(r"cusolver.*(get|pot|geqrf|orm)(?!.*bufferSize)"),
}


def why_not() -> str:
    """Why the null device cannot be built here; empty if it can."""
    if (torch.version.cuda or "no CUDA").partition(".")[0] != CUDA:
        return f"torch was built with {torch.version.cuda or 'no CUDA'}, the null device answers CUDA {CUDA}"
    missing = [tool for tool in ("gcc", "nm") if not shutil.which(tool)]
    return f"needs {' and '.join(missing)}" if missing else ""


def build(out: Path) -> dict[str, str]:
    """Build the libraries into a directory; the environment in which a process has the null device."""
    packages = Path(sysconfig.get_path("purelib"))
    include = [HERE, *(packages / "nvidia" / name / "include" for name in ("cu13", "cudnn"))]
    flags = ["-fPIC", "-O1", "-w", *(f"-I{each}" for each in include)]
    library, nvml = out / "libcuda.so.1", out / "libnvidia-ml.so.1"
    objects = [out / f"{name}.o" for name in ("device", "libraries", "stubs")]
    for source in objects[:2]:
        _run("gcc", "-c", *flags, HERE / f"{source.stem}.c", "-o", source)
    asked = [packages / "torch" / "lib" / name for name in ASKING]
    wanted = {name.partition("@")[0] for name in _symbols("-D", "--undefined-only", *filter(Path.exists, asked))}
    written = set(_symbols("--defined-only", *objects[:2]))
    stubs = sorted(name for name in wanted - written if ANSWERED.fullmatch(name))
    lines = ["void null_named(const char*); void null_add(int, long);", *map(_stub, stubs)]
    (out / "stubs.c").write_text("\n".join(lines))
    _run("gcc", "-c", *flags, out / "stubs.c", "-o", objects[2])
    _run("gcc", "-shared", "-o", library, f"-Wl,-soname,{library.name}", *objects, "-ldl", "-lpthread")
    _run("gcc", "-shared", *flags, f"-Wl,-soname,{nvml.name}", HERE / "nvml.c", "-o", nvml)
    return {"LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(out), "OMP_NUM_THREADS": "1"}


def counted(place: Path) -> dict[str, Any]:
    """What `every_command` counts, in a directory of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    out = place / "counted.json"
    ran("tests.null_device.every_command", out, place=place, devices=2, PORT=f"{port}")
    return json.loads(out.read_text())


def ran(module: str, *arguments: object, place: Path, devices: int, **more: str) -> str:
    """What a module prints that has so many null devices and works in a directory."""
    environment = {**os.environ, **build(place), "NULL_DEVICE_COUNT": f"{devices}", **more}
    environment["PYTHONPATH"] = str(HERE.parents[1])
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-4000:])
    return ended.stdout


def _stub(name: str) -> str:
    for counter, pattern in COUNTED.items():
        if pattern.match(name):
            return f'long {name}(void) {{ null_named("{name}"); null_add({counter}, 1); return 0; }}'
    return f"long {name}(void) {{ return 0; }}"


def _symbols(*arguments: object) -> list[str]:
    return [line.split()[-1] for line in _run("nm", *arguments).splitlines() if " " in line.strip()]


def _run(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout
