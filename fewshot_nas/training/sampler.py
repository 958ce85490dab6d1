"""Who is drawn: which archs a step trains, and on images of which size.

Every draw is a pure function of the seed and the step, so all processes agree without talking,
and a resumed run draws what an unbroken one would have.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.sampling import fair_arch, largest, random_arch, smallest
from fewshot_nas.space.search_space import SearchSpace


@dataclass(frozen=True)
class Chances:
    """What a kind of arch is drawn from: independent uniform choices, by stage."""

    outs: tuple[Sequence[int], ...]
    mids: tuple[Sequence[int], ...]
    depths: tuple[Sequence[int], ...]


class Drawn(Protocol):
    """The archs between the two ends of a step."""

    @property
    def chances(self) -> Chances:
        """What each of them is drawn from."""

    def arch(self, draw: int) -> Arch:
        """Draw number `draw` of the whole training."""


class Ends(Protocol):
    """The two ends of a step."""

    @property
    def chances(self) -> tuple[Chances, Chances]:
        """What the largest and the smallest are drawn from."""

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """A largest and a smallest arch."""


@dataclass(frozen=True)
class RandomArchs:
    """`sampling: random`. Every depth and digit is uniform.

    Attributes:
        digits: the digits 1..n of each stage that are drawn.
    """

    space: SearchSpace
    seed: int
    digits: Sequence[int]

    @property
    def chances(self) -> Chances:
        """All depths and digits."""
        return _all_chances(self.space, self.digits)

    def arch(self, draw: int) -> Arch:
        """Independent of all other draws."""
        return random_arch(self.space, random.Random(f"{self.seed}/arch/{draw}"), self.digits)


@dataclass(frozen=True)
class FairArchs:
    """`sampling: fair`. Strictly fair draws (FairNAS, arXiv:1907.01845), as `fair_arch` makes them.

    Attributes:
        digits: the digits 1..n of each stage that are drawn.
    """

    space: SearchSpace
    seed: int
    digits: Sequence[int]

    @property
    def chances(self) -> Chances:
        """All depths and digits."""
        return _all_chances(self.space, self.digits)

    def arch(self, draw: int) -> Arch:
        """Its digits complete those of the draws before."""
        return fair_arch(self.space, self.seed, draw, self.digits)


@dataclass(frozen=True)
class SpaceEnds:
    """`extremes: space`. The space's largest and smallest arch at every step (BigNAS, arXiv:2003.11142)."""

    space: SearchSpace
    seed: int
    digits: Sequence[int]

    @property
    def chances(self) -> tuple[Chances, Chances]:
        """One arch each."""
        first, last = (_only(arch) for arch in self.ends(0))
        return first, last

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """The same at every step."""
        return largest(self.space), smallest(self.space, self.digits)


@dataclass(frozen=True)
class OutsEnds:
    """`extremes: outs`. Depths and middle widths of the space's ends, with out digits drawn for each step.

    So all out widths are trained equally often. With `SpaceEnds`, two of them are trained at every
    step and the others rarely.
    """

    space: SearchSpace
    seed: int
    digits: Sequence[int]

    @property
    def chances(self) -> tuple[Chances, Chances]:
        """All out digits."""
        outs = _all_chances(self.space, self.digits).outs
        first, last = (replace(_only(arch), outs=outs) for arch in self.ends(0))
        return first, last

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """The two draw their out digits independently of each other."""
        generators = (random.Random(f"{self.seed}/{end}/{step}") for end in ("largest", "smallest"))
        first, last = (random_arch(self.space, rng, self.digits).outs for rng in generators)
        return largest(self.space, first), smallest(self.space, self.digits, last)


@dataclass(frozen=True)
class Sampler:
    """The archs of a step: an end, the drawn ones, the other end.

    Attributes:
        middle: how many archs are drawn between the largest and the smallest.
    """

    drawn: Drawn
    extremes: Ends
    middle: int

    def archs(self, step: int) -> list[Arch]:
        """The largest, the drawn ones, the smallest."""
        first, last = self.extremes.ends(step)
        draws = range(step * self.middle, (step + 1) * self.middle)
        return [first, *(self.drawn.arch(draw) for draw in draws), last]

    def chances(self) -> list[Chances]:
        """What each arch of a step is drawn from."""
        first, last = self.extremes.chances
        return [first, *[self.drawn.chances] * self.middle, last]


@dataclass(frozen=True)
class ImageSizes:
    """The image sizes of a step.

    Attributes:
        middle: as the sampler's.
        resolutions: image sides in pixels to draw from; empty leaves images as they are.
    """

    seed: int
    middle: int
    resolutions: Sequence[int] = ()

    def sides(self, step: int) -> list[int | None]:
        """The image side for each arch: the largest one, drawn ones, the smallest one."""
        if not self.resolutions:
            return [None] * (self.middle + 2)
        rng = random.Random(f"{self.seed}/size/{step}")
        drawn = [self.resolutions[int(rng.random() * len(self.resolutions))] for _ in range(self.middle)]
        return [max(self.resolutions), *drawn, min(self.resolutions)]


# By the names that the settings `sampling` and `extremes` have.
SAMPLING: Mapping[str, Callable[[SearchSpace, int, Sequence[int]], Drawn]] = MappingProxyType(
    {"random": RandomArchs, "fair": FairArchs}
)
EXTREMES: Mapping[str, type[SpaceEnds] | type[OutsEnds]] = MappingProxyType({"space": SpaceEnds, "outs": OutsEnds})


def _all_chances(space: SearchSpace, digits: Sequence[int]) -> Chances:
    options = tuple(range(1, count + 1) for count in digits)
    depths = tuple(range(low, high + 1) for low, high in space.depths)
    return Chances(options, options, depths)


def _only(arch: Arch) -> Chances:
    """No choice at all, for an arch whose middle digits are the same throughout a stage."""
    return Chances(
        tuple((out,) for out in arch.outs),
        tuple(tuple(set(mids)) for mids in arch.mids),
        tuple((depth,) for depth in arch.depths),
    )
