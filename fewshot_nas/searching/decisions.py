"""The decisions that make an arch, and what each of them costs.

The blocks of a stage after its first one differ in their middle width only, and their order changes no cost. So a
cost of an arch follows from the first block of each stage (the output widths of this stage and of the one before,
and a middle width) and from the number of later blocks of each middle width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.block import Block
from fewshot_nas.space.measure import Measure
from fewshot_nas.space.search_space import SearchSpace


class Decision(NamedTuple):
    """The choice of a stage's first block, or of a later one (`before` is None).

    Attributes:
        before: out digit of the stage before; in stage 0, that of the stage itself, which sets the stem's width.
        out, mid: digits.
    """

    stage: int
    before: int | None
    out: int
    mid: int


@dataclass(frozen=True)
class Decisions:
    """All decisions of a space. Of several digits with the same width, only the first is used.

    Attributes:
        digits: stage s uses the digits 1..digits[s].
    """

    space: SearchSpace
    digits: Sequence[int]

    @cached_property
    def outs(self) -> list[list[int]]:
        """The out digits of each stage that have different widths."""
        space = self.space

        def meaning(stage: int, digit: int) -> object:
            return space.width(stage, digit), stage == 0 and space.stem_width(digit)

        return [_distinct(count, partial(meaning, stage)) for stage, count in enumerate(self.digits)]

    @cached_property
    def mids(self) -> list[list[int]]:
        """The mid digits of each stage that have different widths."""
        return [_distinct(count, partial(self.space.mid_width, stage)) for stage, count in enumerate(self.digits)]

    @cached_property
    def all(self) -> list[Decision]:
        """The decisions of all stages, in order."""
        return list(self._all())

    def _all(self) -> Iterator[Decision]:
        for stage, (outs, mids) in enumerate(zip(self.outs, self.mids, strict=True)):
            for out in outs:
                for before in self.outs[stage - 1] if stage else [out]:
                    yield from (Decision(stage, before, out, mid) for mid in mids)
                yield from (Decision(stage, None, out, mid) for mid in mids)

    def block(self, decision: Decision) -> Block:
        """The block that a decision means."""
        stage, before, out, mid = decision
        space, width = self.space, self.space.width(decision.stage, decision.out)
        if before is None:
            inputs, stride = width, 1
        else:
            inputs = space.width(stage - 1, before) if stage else space.stem_width(out)
            stride = space.strides[stage]
        return Block(stage, inputs, space.mid_width(stage, mid), width, stride, space.block)

    def cost(self, measure: Measure, decision: Decision) -> float:
        """A decision's cost. The first stage's first block includes the stem, the last stage's the classifier."""
        block = self.block(decision)
        cost = measure.block(block)
        if decision.before is not None:
            cost += measure.stem(block.inputs) if decision.stage == 0 else 0
            cost += measure.head(block.out) if decision.stage == self.space.stages - 1 else 0
        return cost

    def range_of(self, measure: Measure) -> tuple[float, float]:
        """The exact range of an arch's costs, from the best way to each output width, stage after stage."""
        return self._extreme(measure, min), self._extreme(measure, max)

    def _extreme(self, measure: Measure, pick: Callable[..., float]) -> float:
        first: dict[tuple[int, int, int], float] = {}
        later: dict[tuple[int, int], float] = {}
        for decision in self.all:
            stage, before, out, _ = decision
            cost = self.cost(measure, decision)
            if before is None:
                later[stage, out] = pick(later.get((stage, out), cost), cost)
            else:
                first[stage, before, out] = pick(first.get((stage, before, out), cost), cost)
        best: dict[int, float] = {}
        for stage, ((least, most), outs) in enumerate(zip(self.space.depths, self.outs, strict=True)):
            best = {
                out: pick((least - 1) * later[stage, out], (most - 1) * later[stage, out])
                + pick(
                    best.get(before, 0) + first[stage, before, out]
                    for before in (self.outs[stage - 1] if stage else [out])
                )
                for out in outs
            }
        return pick(best.values())

    def arch(self, taken: Sequence[int]) -> Arch:
        """The arch that takes each decision of `all` so many times."""
        outs = [0] * self.space.stages
        mids: list[list[int]] = [[] for _ in outs]
        for decision, count in zip(self.all, taken, strict=True):
            if count and decision.before is not None:
                outs[decision.stage] = decision.out
            mids[decision.stage] += [decision.mid] * count
        for decision, count in zip(self.all, taken, strict=True):
            if count and decision.before is not None:  # the first block's middle comes first
                mids[decision.stage].remove(decision.mid)
                mids[decision.stage].insert(0, decision.mid)
        return Arch(tuple(outs), tuple(map(tuple, mids)))


def _distinct(count: int, meaning: Callable[[int], object]) -> list[int]:
    """The digits 1..count, without those that have the meaning of an earlier one."""
    found: dict[object, int] = {}
    for digit in range(1, count + 1):
        found.setdefault(meaning(digit), digit)
    return list(found.values())
