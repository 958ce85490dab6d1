"""The archs that a step trains, and the sizes of their images.

Every draw depends on the seed and the step only. So all processes draw the same without
communication, and a resumed run draws the same as one that was not interrupted.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from fewshot_nas.space.draw import random_arch, with_outs
from fewshot_nas.space.space import Arch, Options, Space


class Drawn(Protocol):
    """Draws the archs between the two ends of a step."""

    def arch(self, draw: int) -> Arch:
        """The arch of draw number `draw`, counted over the whole training."""


class Ends(Protocol):
    """Gives the ends of a step: a largest and a smallest arch, or none."""

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
class SpaceEnds:
    """`extremes: space`. The space's largest and smallest arch at every step (BigNAS, arXiv:2003.11142)."""

    space: Space
    seed: int
    options: Options

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """The same two archs at every step."""
        first, last = (self.space.extreme(self.options, largest=largest) for largest in (True, False))
        return first, last


@dataclass(frozen=True)
class OutsEnds:
    """`extremes: outs`. The depths and middle widths of the space's ends, with output widths drawn for each step.

    This way all output widths are trained equally often. With `SpaceEnds`, the largest and the smallest
    are trained at every step and the others rarely.
    """

    space: Space
    seed: int
    options: Options

    def ends(self, step: int) -> tuple[Arch, Arch]:
        """Two archs whose output widths are drawn independently."""
        first, last = (
            with_outs(
                self.space,
                self.space.extreme(self.options, largest=end == "largest"),
                random_arch(self.space, random.Random(f"{self.seed}/{end}/{step}"), self.options),
            )
            for end in ("largest", "smallest")
        )
        return first, last


@dataclass(frozen=True)
class NoEnds:
    """`extremes: none`. A step trains drawn archs only; with one of them, a single path (SPOS, arXiv:1904.00420)."""

    space: Space
    seed: int
    options: Options

    def ends(self, step: int) -> tuple[()]:
        """No arch."""
        return ()


@dataclass(frozen=True)
class Sampler:
    """Gives the archs of a step: the largest, the drawn ones, the smallest; without ends, the drawn ones.

    Attributes:
        middle: number of archs that are drawn between the largest and the smallest.
    """

    drawn: Drawn
    extremes: Ends
    middle: int

    def archs(self, step: int) -> list[Arch]:
        """The archs of a step: the largest, the drawn ones, the smallest; without ends, the drawn ones."""
        ends = self.extremes.ends(step)
        draws = range(step * self.middle, (step + 1) * self.middle)
        return [*ends[:1], *(self.drawn.arch(draw) for draw in draws), *ends[1:]]


@dataclass(frozen=True)
class ImageSizes:
    """The image sizes of a step.

    Attributes:
        middle: number of archs between the largest and the smallest, as in `Sampler`.
        resolutions: image sides in pixels to draw from; if empty, images keep their size.
        ends: whether the step has a largest and a smallest arch.
    """

    seed: int
    middle: int
    resolutions: Sequence[int] = ()
    ends: bool = True

    def sides(self, step: int) -> list[int | None]:
        """The image side of each arch of a step: the largest side first, then drawn ones, the smallest side last."""
        if not self.resolutions:
            return [None] * (self.middle + 2 * self.ends)
        rng = random.Random(f"{self.seed}/size/{step}")
        drawn = [self.resolutions[int(rng.random() * len(self.resolutions))] for _ in range(self.middle)]
        ends = [max(self.resolutions), min(self.resolutions)] if self.ends else []
        return [*ends[:1], *drawn, *ends[1:]]


# The values of the settings `sampling` and `extremes`.
SAMPLING: Mapping[str, Callable[[Space, int, Options], Drawn]] = MappingProxyType({"random": RandomArchs})
EXTREMES: Mapping[str, Callable[[Space, int, Options], Ends]] = MappingProxyType(
    {"space": SpaceEnds, "outs": OutsEnds, "none": NoEnds}
)
