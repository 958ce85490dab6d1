"""The computation of an evaluation, as a worker holds it."""

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
    """All units of a plan, computed by their numbers.

    A worker gets this once, supernet and images included; after that, numbers go in and sums come
    out. A unit's result does not depend on the worker, nor on the units it computed before.
    """

    supernet: Supernet
    inputs: Inputs
    units: tuple[WorkUnit, ...]

    def macs(self, number: int) -> int:
        """Multiply-adds of a unit for one image; its time is about proportional to them."""
        return self.units[number].macs

    def __call__(self, number: int) -> UnitSums:
        """Score the networks of a unit."""
        return Walk(self.supernet, self.units[number], self._near).sums()

    @cached_property
    def _near(self) -> Inputs:
        return self.inputs.near()
