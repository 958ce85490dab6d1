"""The computation of an evaluation, in the form in which a worker gets it."""

from dataclasses import dataclass
from functools import cached_property

from fewshot_nas.evaluation.accuracy import Sums
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.prefix_tree import WorkUnit
from fewshot_nas.models.supernet import Supernet

UnitSums = list[Sums]  # one for each network of a unit


@dataclass(frozen=True, eq=False)
class Work:
    """Computes the units of a plan by their numbers.

    A worker gets this object once, with supernet and images; after that, numbers go in and sums come
    out. The result of a unit depends neither on the worker nor on the units that it computed before.
    """

    supernet: Supernet
    inputs: Inputs
    units: tuple[WorkUnit, ...]

    def macs(self, number: int) -> int:
        """Multiply-adds of a unit for one image; the time is roughly proportional to them."""
        return self.units[number].macs

    def __call__(self, number: int) -> UnitSums:
        """Score the networks of a unit."""
        return Walk(self.supernet, self.units[number], self._inputs).sums()

    @cached_property
    def _inputs(self) -> Inputs:
        return self.inputs.on_device()
