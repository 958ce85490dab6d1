"""The entry point of the evaluation: from archs to their scores."""

from collections.abc import Sequence

from fewshot_nas.evaluation.accuracy import Accuracy
from fewshot_nas.evaluation.executors import Executor, Local, Results, Work
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.memory import within_memory
from fewshot_nas.evaluation.prefix_tree import Plan, make_plan
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
