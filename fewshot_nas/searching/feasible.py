"""Whether bounds can be met: an integer programme over the decisions, which is exact."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from fewshot_nas.cli.errors import InputError
from fewshot_nas.searching.bounds import Bound, Limits, shown
from fewshot_nas.searching.decisions import Decisions
from fewshot_nas.space.cost import Measure
from fewshot_nas.space.space import Arch, Options

PATIENCE_S = 10.0  # for one programme; most take hundredths of a second
_INFEASIBLE = 2  # scipy's status of a programme that is proven to have no solution


def feasible_arch(limits: Limits, options: Options) -> Arch:
    """An arch within all bounds.

    Args:
        options: those to choose from, at each slot.

    Raises:
        InputError: there is none. The message names the first bound that cannot be met together with the
            bounds before it, and the values that its measure can reach within those.
    """
    programme = _Programme(Decisions(limits.space, options), limits)
    if (found := programme.solved(limits.bounds)) is not None:
        return found
    *before, bound = _first_conflict(programme, limits.bounds)
    low, high = (programme.extreme(before, bound.name, sign) for sign in (1, -1))
    raise InputError(_cannot(bound, low, high, before))


def _first_conflict(programme: "_Programme", bounds: Sequence[Bound]) -> Sequence[Bound]:
    """The bounds up to the first one that cannot be met together with those before it."""
    shorter = (bounds[:count] for count in range(1, len(bounds)))
    return next((some for some in shorter if programme.solved(some) is None), bounds)


def _cannot(bound: Bound, low: float, high: float, beside: Sequence[Bound]) -> str:
    given = f"with {' and '.join(map(str, beside))}, " if beside else ""
    inside = " and no network lies between the two bounds" if low <= bound.high and bound.low <= high else ""
    least, most = shown(bound.name, low), shown(bound.name, high)
    return f"no network has {bound}: {given}{bound.name} reaches from {least} to {most}{inside}"


class _Programme:
    """The integer programme: a column for each choice, rows for the structure of an arch and for the bounds."""

    def __init__(self, decisions: Decisions, limits: Limits) -> None:
        self._decisions, self._limits = decisions, limits
        self._structure, self._most = _structure(decisions), np.array(decisions.most())
        self._costs = {bound.name: self._costs_of(limits.measures[bound.name]) for bound in limits.bounds}

    def _costs_of(self, measure: Measure) -> Any:
        own = [self._decisions.cost(measure, each) for each in self._decisions.all]
        return np.array([*[0.0] * len(self._decisions.slots), *own])

    def solved(self, bounds: Sequence[Bound]) -> Arch | None:
        """An arch within these bounds, or None if it is proven that there is none."""
        nothing = np.zeros(len(self._most))
        if self._optimum(nothing, bounds, 0.0, whole=False) is None:
            return None  # not even fractions of blocks meet the bounds, which is faster to prove
        # The solver's sums have rounding errors. If its arch misses a bound by them, the bounds are tightened a little.
        for margin in (0.0, 1e-6):
            taken = self._optimum(nothing, bounds, margin)
            arch = None if taken is None else self._arch(taken)
            if arch is None or Limits(self._limits.space, bounds, self._limits.measures).fits(arch):
                return arch
        return None

    def extreme(self, bounds: Sequence[Bound], name: str, sign: int) -> float:
        """The smallest (sign 1) or largest (-1) value of a measure within bounds that can be met."""
        costs = self._costs[name]
        taken = self._optimum(sign * costs / costs.max(), bounds, 0.0)
        assert taken is not None, "these bounds can be met"
        return self._limits.measures[name].of(self._limits.space, self._arch(taken))

    def _arch(self, taken: Sequence[int]) -> Arch:
        slots = len(self._decisions.slots)
        return self._decisions.arch(taken[:slots], taken[slots:])

    def _optimum(
        self, objective: Any, bounds: Sequence[Bound], margin: float, *, whole: bool = True
    ) -> list[int] | None:
        """The number of times that each column is taken; None if nothing is within the bounds.

        Args:
            whole: whether the numbers must be whole.
        """
        result = milp(
            objective,
            integrality=np.full(len(self._most), whole),
            bounds=Bounds(0, self._most),
            constraints=[self._structure, *(_row(self._costs[bound.name], bound, margin) for bound in bounds)],
            options={"time_limit": PATIENCE_S, "mip_rel_gap": 0},
        )
        if result.x is not None:
            return list(map(round, result.x))
        if result.status == _INFEASIBLE:
            return None
        said = " and ".join(map(str, bounds))
        raise InputError(f"no network with {said} was found within {PATIENCE_S:.0f} s; widen the bounds")


def _row(costs: Any, bound: Bound, margin: float) -> LinearConstraint:
    """The row of a bound, divided by the bound, so that one tolerance suits multiply-adds and milliseconds."""
    scale = bound.high if 0 < bound.high < math.inf else max(bound.low, 1.0)
    low = bound.low / scale + margin if bound.low > -math.inf else -math.inf
    return LinearConstraint((costs / scale)[None], low, bound.high / scale - margin)


def _structure(decisions: Decisions) -> LinearConstraint:
    """The rows that make decisions an arch."""
    rows = list(decisions.rows())
    matrix = lil_matrix((len(rows), len(decisions.most())))
    for number, (entries, _, _) in enumerate(rows):
        for column, value in entries.items():
            matrix[number, column] = value
    return LinearConstraint(matrix.tocsr(), [low for _, low, _ in rows], [high for _, _, high in rows])
