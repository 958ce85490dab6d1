"""The number of images that an evaluation computes at a time, and what it holds, so that it fits into memory."""

import math
from dataclasses import replace

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.engine import at_once
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.prefix_tree import Plan, kernel_elements, peak_elements
from fewshot_nas.models.supernet import Supernet

_MB = 1 << 20
_LOGIT_BYTES = 32  # of each logit that is scored with others: itself, its probability, what lies between
_PROCESS_MB = 850  # resident memory before the first image: Python, torch, compiled kernels


def within_memory(plan: Plan, supernet: Supernet, inputs: Inputs, memory_mb: int | None) -> tuple[Inputs, float]:
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
    elements = max((peak_elements(supernet.space, unit, inputs.images.shape[-1]) for unit in plan.units), default=1)
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
    kernels_mb = bytes_each * max((kernel_elements(unit) for unit in plan.units), default=0) / _MB
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
    taken_mb = 4 * (sum(sizes) + 3 * max(sizes)) / _MB + _LOGIT_BYTES * at_once(inputs.device) / _MB
    if inputs.device.type == "cpu":
        taken_mb += _PROCESS_MB + inputs.nbytes / _MB
    return taken_mb
