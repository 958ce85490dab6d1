"""The best archs within a budget of MACs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from fewshot_nas.results.scores import Scored
from fewshot_nas.space.block import Cost

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class BestArch:
    """An arch that is among the best within a bound of MACs; its score is in percent."""

    bound: int
    arch_id: str
    code: str
    score: float
    cost: Cost


def macs_bounds(macs: Iterable[int], shares: Sequence[float] = SHARES) -> list[int]:
    """Ascending round bounds; each is the smallest round number that a share of the values does not exceed."""
    ordered = sorted(macs)
    quantiles = (ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in shares)
    return sorted({_rounded_up(value) for value in quantiles})


def best_under(
    bounds: Iterable[int], scores: Mapping[str, Scored], costs: Mapping[str, Cost], count: int = 3
) -> list[BestArch]:
    """The `count` best archs within each bound, the best first; of equal ones, the cheaper first."""
    ranked = sorted(scores, key=lambda arch_id: (-scores[arch_id].acc, costs[arch_id].macs))
    return [
        BestArch(bound, arch_id, scores[arch_id].code, scores[arch_id].acc, costs[arch_id])
        for bound in bounds
        for arch_id in islice((each for each in ranked if costs[each].macs <= bound), count)
    ]


def macs_front(scores: Mapping[str, Scored], costs: Mapping[str, Cost]) -> list[str]:
    """The archs that are better than all archs with fewer or as many MACs, in order of MACs."""
    best, kept = -math.inf, []
    for arch_id in sorted(scores, key=lambda arch_id: (costs[arch_id].macs, -scores[arch_id].acc)):
        if scores[arch_id].acc > best:
            best = scores[arch_id].acc
            kept.append(arch_id)
    return kept


def _rounded_up(value: int) -> int:
    """Round up to two leading digits."""
    step = int(10 ** max(0, len(str(value)) - 2))
    return -(-value // step) * step
