"""The computation of an evaluation, in the form in which a worker gets it."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from fewshot_nas.cli.errors import InputError, lacks_memory
from fewshot_nas.evaluation.accuracy import Sums
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.prefix_tree import WorkUnit
from fewshot_nas.models.supernet import Supernet

UnitSums = list[Sums]  # one for each network of a unit


@dataclass(eq=False)
class Work:
    """Computes the units of a plan by their numbers.

    A worker gets this object once, with supernet and images; after that, numbers go in and sums come
    out. The result of a unit depends neither on the worker nor on the units that it computed before, beyond the
    rounding of another batch size: where memory runs out, this process scores half as many images at a time from then
    on, and holds nothing.
    """

    supernet: Supernet
    inputs: Inputs
    units: tuple[WorkUnit, ...]

    def macs(self, number: int) -> int:
        """Multiply-adds of a unit for one image; the time is roughly proportional to them."""
        return self.units[number].macs

    def __call__(self, number: int) -> UnitSums:
        """Score the networks of a unit.

        Raises:
            InputError: not even a calibration batch, which cannot be divided, fits into memory.
        """
        while True:
            try:
                return Walk(self.supernet, self.units[number], self._inputs).sums()
            except (MemoryError, RuntimeError) as error:
                if not lacks_memory(error):
                    raise
            # Outside the handler, whose traceback holds the tensors of the walk.
            self._take_less()

    @cached_property
    def _inputs(self) -> Inputs:
        return self.inputs.on_device()

    def _take_less(self) -> None:
        batch, needed = self.inputs.batch, max(self.inputs.calibration_sizes, default=1)
        if batch <= needed:
            raise InputError(
                f"memory ran out with {batch} scoring images and {needed} calibration images at a time; lower"
                " evaluation.calibration_batch (for Cream BATCH_SIZE), or end what else uses the memory"
            )
        self.inputs = replace(self.inputs, batch=max(batch // 2, needed), holds_kernels=False, holds_images=False)
        self.__dict__.pop("_inputs", None)
        if self.inputs.device.type == "cuda":
            torch.cuda.empty_cache()
