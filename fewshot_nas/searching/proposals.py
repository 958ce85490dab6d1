"""Proposing the archs of a generation: by chance, or by an evolution that learns from scores."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from fewshot_nas.errors import InputError
from fewshot_nas.searching.candidates import Candidates
from fewshot_nas.space.arch import Arch

Values = Mapping[Arch, Sequence[float]]


class Proposer(Protocol):
    """Proposes archs, a generation at a time. The same seed and the same values make the same proposals."""

    def ask(self) -> list[Arch]:
        """The archs of the next generation that are within the bounds; an arch may be proposed again."""

    def tell(self, values: Values) -> None:
        """Learn the values of archs in each objective; larger is better."""


class Chance:
    """Random search: a generation does not depend on those before it."""

    def __init__(self, candidates: Candidates, seed: int, population: int) -> None:
        self._candidates, self._seed, self._population = candidates, seed, population
        self._drawn = 0

    def ask(self) -> list[Arch]:
        """As `Proposer.ask`."""
        first, self._drawn = self._drawn, self._drawn + self._population
        return [self._candidates.draw(self._seed, number) for number in range(first, self._drawn)]

    def tell(self, values: Values) -> None:
        """As `Proposer.tell`; chance does not learn."""


class Evolution:
    """Optuna's NSGA-II (Deb et al., IEEE Trans. Evol. Comput. 6, 2002).

    It was chosen for three reasons. It proposes a whole generation before it needs a score, so a
    generation can be scored as one tree. It takes one objective or several. It compares archs outside
    the bounds by their distance from them, so these need no score. The first generation is random
    and within the bounds.

    A child has one parent's genes up to some block and the other's after it. So children of one parent
    begin with the same blocks, which the tree computes once.

    Args:
        objectives: the number of values that `tell` gets for each arch.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, candidates: Candidates, seed: int, population: int, objectives: int) -> None:
        optuna = optuna_or_refuse()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._complete, self._candidates, self._population = optuna.trial.TrialState.COMPLETE, candidates, population
        sampler = optuna.samplers.NSGAIISampler(population_size=population, crossover=_one_point(), seed=seed)
        self._study = optuna.create_study(directions=["maximize"] * objectives, sampler=sampler)
        self._objectives = objectives
        self._asked: list[tuple[Any, Arch]] = []
        for number in range(population):
            arch = candidates.draw(seed, number)
            self._study.enqueue_trial(candidates.genes(arch, random.Random(f"{seed}/absent/{number}")))

    def ask(self) -> list[Arch]:
        """As `Proposer.ask`."""
        trials = [self._study.ask() for _ in range(self._population)]
        self._asked = [(trial, self._arch(trial)) for trial in trials]
        return [arch for _, arch in self._asked if self._candidates.limits.fits(arch)]

    def tell(self, values: Values) -> None:
        """As `Proposer.tell`."""
        for trial, arch in self._asked:
            trial.set_constraint("bounds", self._candidates.limits.excess(arch))
            self._study.tell(trial, list(values.get(arch, [0.0] * self._objectives)), self._complete)

    def _arch(self, trial: Any) -> Arch:
        ranges = self._candidates.ranges.items()
        return self._candidates.arch({name: trial.suggest_int(name, least, most) for name, (least, most) in ranges})


def _one_point() -> Any:
    """A crossover: genes, which Optuna sorts by name, come from one parent up to a point and then from the other."""
    from optuna.samplers.nsgaii import BaseCrossover

    class OnePoint(BaseCrossover):
        n_parents = 2

        def crossover(self, parents_params: Any, rng: Any, study: Any, search_space_bounds: Any) -> Any:
            at = rng.randint(1, parents_params.shape[1])
            return np.concatenate([parents_params[0, :at], parents_params[1, at:]])

    return OnePoint()


def optuna_or_refuse() -> Any:
    """Import Optuna.

    Raises:
        InputError: it is not installed, or too old.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("optuna is not installed, expected it from `pip install 'fewshot-nas[search]'`") from None
    if int(optuna.__version__.partition(".")[0]) < 5:  # constraints are the trial's since then
        raise InputError(f"optuna is {optuna.__version__}, expected at least 5: `pip install 'fewshot-nas[search]'`")
    return optuna
