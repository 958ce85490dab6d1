"""The default limit on an evaluation's memory: what this machine has available."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from fewshot_nas.cli import launcher

_MB = 1 << 20
_GPU_SHARE = 0.9  # of what is free; the rest is for the kernels' own buffers and for fragments
_CPU_SHARE = 0.8  # of what is available; the rest is for others, and for the cache of files
_ROOT = Path("/")


def memory_limit_mb(device: torch.device) -> int:
    """The memory that this process may take, in MB.

    On a GPU a share of what is free. On the CPU a share of what the machine and this process's control groups
    have available, divided by the processes that torchrun started on this machine.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((torch.cuda.mem_get_info(device)[0] + cached) * _GPU_SHARE / _MB)
    processes = launcher.number("LOCAL_WORLD_SIZE", 1, least=1)
    return int(available_bytes() * _CPU_SHARE / processes / _MB)


def available_bytes(root: Path = _ROOT) -> int:
    """Main memory that may still be used: by the machine's account, or by a container's or job's limit if that is less.

    Args:
        root: above `proc` and `sys`.
    """
    return min([_of_machine(root), *_of_groups(root)])


def _of_machine(root: Path) -> int:
    info = _numbers(root / "proc" / "meminfo")
    if "MemAvailable:" in info:
        return info["MemAvailable:"] * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # no Linux: all there is


def _of_groups(root: Path) -> Iterator[int]:
    """What each control group that this process is in has left; a limit on a group holds for those within it."""
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / "sys" / "fs" / "cgroup" / controllers
        group = top / path.lstrip("/")
        for directory in (group, *group.parents):
            yield from _left(directory)
            if directory == top:
                break


def _left(group: Path) -> Iterator[int]:
    """Of a group of the second or first kind, if it has a limit; pages of files can be given up, so they are free."""
    for limit, usage, files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = ("".join(_lines(group / name)) for name in (limit, usage))
        if most.isdigit() and used.isdigit():
            yield max(0, int(most) - int(used) + _numbers(group / "memory.stat").get(files, 0))


def _numbers(path: Path) -> dict[str, int]:
    words = (line.split() for line in _lines(path))
    return {name: int(number) for name, number, *_ in words}


def _lines(path: Path) -> list[str]:
    """Of a file that not every system has."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
