"""Who is trained in a step of a supernet.

A sandwich (BigNAS, arXiv:2003.11142) is the largest arch, some drawn ones and the smallest. Every draw depends on the
seed and the step only. So all processes draw the same without communication, and a resumed run draws the same as one
that was not interrupted.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

from fewshot_nas.space.space import Arch, Options, Space, random_arch


class Draws(Protocol):
    """Gives the archs of a step."""

    @property
    def names(self) -> Sequence[str]:
        """The names of a step's archs, for its losses in the log."""

    def archs(self, step: int) -> Sequence[Arch]:
        """The archs of a step, in the order in which they run."""


class Drawn(Protocol):
    """Draws the archs between the two ends of a sandwich."""

    def arch(self, draw: int) -> Arch:
        """The arch of draw number `draw`, counted over the whole training."""


class Ends(Protocol):
    """Gives the ends of a sandwich: a largest and a smallest arch, or none."""

    def ends(self, step: int) -> Sequence[Arch]:
        """The largest and the smallest arch of a step, or no arch."""


@dataclass(frozen=True)
class RandomArchs:
    """`sampling: random`. Every choice is uniform.

    Attributes:
        options: those that are drawn, at each slot of the space.
    """

    space: Space
    seed: int
    options: Options

    def arch(self, draw: int) -> Arch:
        """A random arch, independent of all other draws."""
        return random_arch(self.space, random.Random(f"{self.seed}/arch/{draw}"), self.options)


@dataclass(frozen=True)
class FairArchs(RandomArchs):
    """`sampling: fair`. Of as many draws as a slot has options, each has another option (FairNAS, arXiv:1907.01845).

    So all options of a slot are trained equally often. Slots with fewer options begin again.
    """

    def arch(self, draw: int) -> Arch:
        """An arch of a round of draws. Each of its options is drawn from those that the round's earlier ones left."""
        turn, place = divmod(draw, max(map(len, self.options)))
        rng = random.Random(f"{self.seed}/fair/{turn}")
        # Absent blocks draw, too: otherwise a block's draws would depend on depths.
        each = [rng.sample(options, len(options))[place % len(options)] for options in self.options]
        return self.space.canonical(each)


@dataclass(frozen=True)
class SpaceEnds:
    """`extremes: space`. The space's largest and smallest arch at every step (BigNAS, arXiv:2003.11142)."""

    space: Space
    seed: int
    options: Options

    @cached_property
    def extremes(self) -> tuple[Arch, Arch]:
        return self.space.extreme(self.options, largest=True), self.space.extreme(self.options, largest=False)

    def ends(self, step: int) -> tuple[Arch, Arch]:
        return self.extremes


@dataclass(frozen=True)
class OutsEnds(SpaceEnds):
    """`extremes: outs`. The depths and middle widths of the space's ends, with output widths drawn for each step.

    This way all output widths are trained equally often. With `SpaceEnds`, the largest and the smallest
    are trained at every step and the others rarely.
    """

    def ends(self, step: int) -> tuple[Arch, Arch]:
        largest, smallest = self.extremes
        return self._drawn(largest, f"{self.seed}/largest/{step}"), self._drawn(
            smallest, f"{self.seed}/smallest/{step}"
        )

    def _drawn(self, arch: Arch, stream: str) -> Arch:
        return with_outs(self.space, arch, random_arch(self.space, random.Random(stream), self.options))


def with_outs(space: Space, arch: Arch, other: Arch) -> Arch:
    """An arch with the output widths of another one."""
    return tuple(
        theirs if slot.role == "out" else ours for slot, ours, theirs in zip(space.slots, arch, other, strict=True)
    )


@dataclass(frozen=True)
class NoEnds:
    """`extremes: none`. A step trains drawn archs only; with one of them, a single path (SPOS, arXiv:1904.00420)."""

    space: Space
    seed: int
    options: Options

    def ends(self, step: int) -> Sequence[Arch]:
        return ()


@dataclass(frozen=True)
class Sampler:
    """The archs of a sandwich: the largest, the drawn ones, the smallest; without ends, the drawn ones.

    Attributes:
        middle: number of archs that are drawn between the largest and the smallest.
    """

    drawn: Drawn
    extremes: Ends
    middle: int

    @property
    def names(self) -> Sequence[str]:
        drawn = tuple(f"sampled{number}" for number in range(1, self.middle + 1))
        return ("largest", *drawn, "smallest") if self.extremes.ends(0) else drawn

    def archs(self, step: int) -> list[Arch]:
        ends = self.extremes.ends(step)
        draws = range(step * self.middle, (step + 1) * self.middle)
        return [*ends[:1], *(self.drawn.arch(draw) for draw in draws), *ends[1:]]


# `sampling: shrinking`: from which share of a training the options of which roles are drawn, beside the largest ones.
SHRINKING: Mapping[float, frozenset[str]] = MappingProxyType(
    {0.0: frozenset(), 0.1: frozenset({"depth"}), 0.4: frozenset({"depth", "out", "mid", "block"})}
)


@dataclass(frozen=True)
class Shrinking:
    """Progressive shrinking (once-for-all, arXiv:1908.09791): samplers of more and more options, one after the other.

    Attributes:
        samplers: one for each part of `SHRINKING`.
        steps: of the whole training.
    """

    samplers: Sequence[Draws]
    steps: int

    @classmethod
    def of(cls, sampler: Callable[[Options], Draws], space: Space, options: Options, steps: int) -> "Shrinking":
        """Samplers made by `sampler`, each for some of the options."""

        def kept(roles: frozenset[str]) -> Options:
            each = zip(space.slots, options, strict=True)
            return tuple(all_ if s.role in roles else all_[:1] if s.falling else all_[-1:] for s, all_ in each)

        return cls([sampler(kept(roles)) for roles in SHRINKING.values()], steps)

    @property
    def names(self) -> Sequence[str]:
        """The same in all parts."""
        return self.samplers[-1].names

    def archs(self, step: int) -> Sequence[Arch]:
        """The archs of a step, by the sampler of its part."""
        part = sum(step >= begin * self.steps for begin in SHRINKING) - 1
        return self.samplers[part].archs(step)


# The values of the settings `sampling` and `extremes`.
SAMPLING: Mapping[str, Callable[[Space, int, Options], Drawn]] = MappingProxyType(
    {"random": RandomArchs, "fair": FairArchs, "shrinking": RandomArchs}
)
EXTREMES: Mapping[str, Callable[[Space, int, Options], Ends]] = MappingProxyType(
    {"space": SpaceEnds, "outs": OutsEnds, "none": NoEnds}
)
