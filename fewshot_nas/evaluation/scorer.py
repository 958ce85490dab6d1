"""The entry point of the evaluation: from archs to their scores, within the memory that there is."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.engine import at_once
from fewshot_nas.evaluation.executors import Executor, Local, Results, Work
from fewshot_nas.evaluation.inputs import Accuracy, Inputs
from fewshot_nas.evaluation.prefix_tree import Plan, WorkUnit, kernel_elements, make_plan, peak_elements
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.space import Arch

UNIT_NETWORKS = 128


class Scorer:
    """Scores archs with a supernet's weights, and computes only once what they share.

    Commands, training, search and notebooks all use this class. Results equal those of
    `naive.score_plainly` up to float rounding.

    Args:
        inputs: the images to calibrate and to score on.
        executor: computes the work units, here or on several processes.
        memory_mb: bounds the number of images at a time; see `within_memory`.
        unit_networks: the most networks of a work unit. Smaller units share less, but more
            processes can work at them.
    """

    def __init__(
        self,
        supernet: Supernet,
        inputs: Inputs,
        executor: Executor | None = None,
        *,
        memory_mb: int | None = None,
        unit_networks: int = UNIT_NETWORKS,
    ) -> None:
        self.supernet, self.inputs = supernet, inputs
        self.executor = executor or Local()
        self._memory_mb, self._unit_networks = memory_mb, unit_networks

    def scores(self, archs: Sequence[Arch]) -> list[Accuracy]:
        """Accuracy of each arch, in the order of the archs; an arch may occur several times.

        Raises:
            InputError: `memory_mb` is too small.
        """
        plan = self.plan(archs)
        found = dict(self.results(plan, range(len(plan.units))))
        by_arch = plan.by_arch(found[number] for number in range(len(plan.units)))
        return [each.accuracy(len(self.inputs.images)) for each in by_arch]

    def plan(self, archs: Sequence[Arch]) -> Plan:
        """The plan for scoring these archs: work units, networks, multiply-adds."""
        return make_plan(
            self.supernet.split,
            archs,
            unit_networks=self._unit_networks,
            resolution=self.inputs.images.shape[-1],
            num_classes=self.supernet.num_classes,
        )

    def within_memory(self, plan: Plan) -> tuple[Inputs, float]:
        """The inputs with the batch size that will be used, and the estimated memory in MB.

        Raises:
            InputError: `memory_mb` is too small.
        """
        return within_memory(plan.units, self.supernet, self.inputs, self._memory_mb)

    def results(self, plan: Plan, numbers: Sequence[int]) -> Results:
        """Compute some units of a plan; see `Executor.results`."""
        inputs, _ = self.within_memory(plan)
        return self.executor.results(numbers, Work(self.supernet, inputs, plan.units))


# ---- memory: what this machine has available, how many images at a time and what else fits ---------------------------

_MB = 1 << 20
_LOGIT_BYTES = 32  # of each logit that is scored with others: itself, its probability, what lies between
_PROCESS_MB = 850  # resident memory before the first image: Python, torch, compiled kernels


def within_memory(
    units: Sequence[WorkUnit], supernet: Supernet, inputs: Inputs, memory_mb: int | None
) -> tuple[Inputs, float]:
    """The inputs with the largest scoring batch that fits into memory, and the memory needed in MB.

    The batch is never larger than that of `inputs`. The memory that is left on a GPU holds the
    folded weights of a unit, and then all images. Both save many small operations; a CPU does not
    gain by it.

    Args:
        memory_mb: for this process in all; on a GPU, beside what is there already; None for no
            bound on the batch, and nothing held.

    Raises:
        InputError: not even a calibration batch fits. It cannot be divided, because batch norms need
            the statistics of the whole batch.
    """
    bytes_each = 2 if inputs.precision == "bf16" else 4
    elements = max((peak_elements(supernet.space, unit, inputs.images.shape[-1]) for unit in units), default=1)
    image_mb = elements * bytes_each / _MB
    taken_mb = _resident_mb(supernet, inputs)
    fits = math.inf if memory_mb is None else int((memory_mb - taken_mb) / image_mb)
    needed = max(inputs.calibration_sizes, default=0)
    if fits < needed:
        raise InputError(
            f"the evaluation may take {memory_mb} MB, but {taken_mb + needed * image_mb:.0f} are needed"
            f" for a calibration batch of {needed} images;"
            " lower evaluation.calibration_batch (for Cream BATCH_SIZE), or allow more by evaluation.memory_mb"
        )
    batch = int(min(inputs.batch, fits))
    taken_mb += max(batch, needed) * image_mb
    if memory_mb is None or inputs.device.type == "cpu":
        return replace(inputs, batch=batch), taken_mb
    kernels_mb = bytes_each * max((kernel_elements(unit) for unit in units), default=0) / _MB
    images_mb = inputs.nbytes / _MB
    holds_kernels = taken_mb + kernels_mb <= memory_mb
    taken_mb += kernels_mb * holds_kernels
    holds_images = taken_mb + images_mb <= memory_mb
    taken_mb += images_mb * holds_images
    return replace(inputs, batch=batch, holds_kernels=holds_kernels, holds_images=holds_images), taken_mb


def _resident_mb(supernet: Supernet, inputs: Inputs) -> float:
    """Memory without activations. It is estimated, not measured, so that a resumed run uses the same batches."""
    sizes = [parameter.numel() for parameter in supernet.parameters()]
    # A convolution holds its folded weights, and a copy in the kernel's own memory order.
    stored = sum(sizes) * (2 if supernet.two_sided else 1)
    taken_mb = 4 * (stored + 3 * max(sizes)) / _MB + _LOGIT_BYTES * at_once(inputs.device) / _MB
    if inputs.device.type == "cpu":
        taken_mb += _PROCESS_MB + inputs.nbytes / _MB
    return taken_mb


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
