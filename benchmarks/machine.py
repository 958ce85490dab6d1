"""What the machine can do at best, as the measure of what a benchmark reaches."""

import time
from collections.abc import Callable

import torch


def duration_s(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def matmul_gflops(dtype: torch.dtype = torch.float32, size: int = 2048, rounds: int = 10) -> float:
    """Rate of a square matrix product in GFLOP/s, the best of some rounds; a multiply-add counts as 2."""
    a, b = torch.rand(2, size, size).to(dtype)
    a @ b  # the first call also allocates and picks kernels
    return 2 * size**3 / min(duration_s(lambda: a @ b) for _ in range(rounds)) / 1e9


if __name__ == "__main__":
    for kind in (torch.float32, torch.bfloat16):
        print(f"{kind}: {matmul_gflops(kind):.0f} GFLOP/s on {torch.get_num_threads()} threads")
