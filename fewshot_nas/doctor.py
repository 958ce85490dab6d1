"""Say what this machine has: versions, devices, threads, disk, shared memory; and try a small training."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Parser, run
from fewshot_nas.records.files import PACKAGE
from fewshot_nas.version import __version__

_NEEDED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "timm", "pillow", "pyyaml")
_EXTRA = (
    "onnx",
    "onnxruntime",
    "onnxscript",
    "safetensors",
    "simplejpeg",
    "opencv-python-headless",
    "matplotlib",
    "ray",
)
_SHARED = Path("/dev/shm")
_FEW_SHARED_MB = 1_024  # a container has 64; configs/imagenet.yml needs 5,000
_TEST_S = 300  # by then the small training, a matter of seconds, hangs
_SMALL = "--save doctor data.train_images=128 data.valid_images=20 training.epochs=1 training.batch_size=32"


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is there, then train a supernet for a few seconds in a directory that is removed."""
    options = _parser().parse_args(argv)
    for name, what in facts():
        print(f"{name:14} {what}", flush=True)
    if options.quick:
        return 0
    began = time.perf_counter()
    said = _tried(options.device)
    if said:
        raise InputError(f"the small training failed: {said}")
    print(f"{'small training':14} good, {time.perf_counter() - began:.0f} s")
    return 0


def facts() -> Iterator[tuple[str, str]]:
    """What is there, a line each: its name, and what was found."""
    yield "fewshot_nas", f"{__version__}, {PACKAGE}"
    yield "python", f"{platform.python_version()}, {platform.platform()}"
    yield "packages", ", ".join(_version(name) for name in _NEEDED)
    yield "extras", ", ".join(_version(name) for name in _EXTRA)
    import torch  # here, so that --help need not wait for it

    _check_torchvision()
    from fewshot_nas.computing import cores

    kernels = torch.backends.cpu.get_cpu_capability()
    yield (
        "processor",
        f"{cores()} cores for this process, {torch.get_num_threads()} threads of torch, kernels {kernels}",
    )
    yield "memory", _memory()
    yield from _devices()
    free = shutil.disk_usage(Path.cwd())
    writable = "" if os.access(Path.cwd(), os.W_OK) else "; this directory cannot be written to"
    yield "disk", f"{free.free / 1e9:.1f} of {free.total / 1e9:.1f} GB are free in {Path.cwd()}{writable}"
    yield "shared memory", _shared()
    launcher = {name: os.environ[name] for name in ("WORLD_SIZE", "RANK", "OMP_NUM_THREADS") if name in os.environ}
    yield "environment", ", ".join(f"{name}={value}" for name, value in launcher.items()) or "nothing of a launcher"


def _check_torchvision() -> None:
    """Import torchvision, which nearly every command needs."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        both = f"{_version('torchvision')} does not go with {_version('torch')}"
        mend = "expected both from one index: pip install --force-reinstall torch torchvision, with its --index-url"
        raise InputError(f"{both} ({error}); {mend}") from None


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} is missing"


def _memory() -> str:
    from fewshot_nas.evaluation.scorer import available_bytes

    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{available_bytes() / 1e9:.1f} of {total / 1e9:.1f} GB are free"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        yield "GPU", f"none that torch can use; {built}"
    for number in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(number)
        yield (
            f"GPU {number}",
            f"{device.name}, {device.total_memory / 1e9:.0f} GB, capability {device.major}.{device.minor}",
        )


def _shared() -> str:
    if not _SHARED.is_dir():
        return f"no {_SHARED}"
    there = shutil.disk_usage(_SHARED)
    few = there.total / 1e6 < _FEW_SHARED_MB
    advice = "; little for data.workers: docker run --shm-size=6g, or data.workers=0" if few else ""
    return f"{there.free / 1e6:,.0f} of {there.total / 1e6:,.0f} MB are free{advice}"


def _tried(device: str | None) -> str:
    """What a small training said when it failed; empty if it ended well."""
    command = [sys.executable, "-m", "fewshot_nas.train_supernet", *_SMALL.split()]
    command += [f"--device={device}"] if device else []
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as place:
        try:
            ended = subprocess.run(command, cwd=place, env=known, capture_output=True, text=True, timeout=_TEST_S)
        except subprocess.TimeoutExpired:
            return f"it did not end within {_TEST_S} s"
    lines = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
    return lines[-1].removeprefix("error: ") if ended.returncode else ""


def _parser() -> Parser:
    parser = Parser(prog="fewshot_nas.doctor", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the small training")
    parser.add_argument(
        "--device", help="for the training, as torch names it (default: a GPU if there is one, else the CPU)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(run(main))
