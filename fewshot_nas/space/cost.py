"""Costs that add up over the parts of a network, whatever they count, and bounds on them.

Multiply-adds are those of convolutions and linear layers; one multiply-add counts as 1. Parameters include the
weight and bias of every batch norm.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from fewshot_nas.cli.errors import InputError
from fewshot_nas.space.block import Block, Cost, Head
from fewshot_nas.space.space import Arch, Space


@dataclass(frozen=True)
class Measure:
    """A cost of a network that is the sum of its parts' costs, none of them negative.

    Because it adds up, its extremes over a space, and whether bounds of several measures can be met
    together, are found exactly.

    Attributes:
        block: cost of a block at the place with a number.
        head: cost of what follows the last block.

    >>> from fewshot_nas.space.presets import SPACES
    >>> px8 = SPACES["px8"]
    >>> macs = cost_measures(px8, num_classes=10)["macs"]
    >>> f"{macs.of(px8, px8.largest):,}"
    '5,485,696'
    """

    block: Callable[[int, Block], float]
    head: Callable[[Head], float]

    def of(self, space: Space, arch: Arch) -> float:
        """The cost of a subnet.

        Raises:
            InputError: the arch is not of the space.
        """
        return sum(self.block(place, block) for place, block in space.blocks(arch)) + self.head(space.head(arch))


def cost_measures(space: Space, *, resolution: int | None = None, num_classes: int = 1000) -> dict[str, Measure]:
    """Multiply-adds of one image and parameters, by the names `macs` and `params`.

    Args:
        resolution: side of the square input in pixels; the space's own if None.
    """
    sides = space.sides(resolution)

    @lru_cache(maxsize=1 << 16)
    def cost(place: int, block: Block) -> Cost:
        return block.cost(sides[place])

    return {
        "macs": Measure(lambda place, block: cost(place, block).macs, lambda head: head.cost(num_classes).macs),
        "params": Measure(lambda place, block: cost(place, block).params, lambda head: head.cost(num_classes).params),
    }


# ---- bounds, as a person writes them: `macs=600M`, `latency=12ms` ----------------------------------------------------

MEASURES = ("macs", "params", "latency")
_COUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_TIMES = {"us": 1, "ms": 10**3, "s": 10**6}


@dataclass(frozen=True)
class Bound:
    """A measure's least and largest allowed value, both included; latency in microseconds."""

    name: str
    low: float = -math.inf
    high: float = math.inf

    def excess(self, value: float) -> float:
        """The distance of a value from the allowed range, relative to the bound, so that measures can be added."""
        if value > self.high:
            return value / self.high - 1 if self.high > 0 else value
        return 1 - value / self.low if value < self.low else 0.0

    def __str__(self) -> str:
        low = [f">= {shown(self.name, self.low)}"] if self.low > -math.inf else []
        high = [f"<= {shown(self.name, self.high)}"] if self.high < math.inf else []
        return f"{self.name} {' and '.join(low + high)}"


def shown(name: str, value: float) -> str:
    """A value with its unit: `600 M`, `12 ms`.

    >>> shown("macs", 3_300_000), shown("latency", 250.0)
    ('3.3 M', '250 us')
    """
    units = _TIMES if name == "latency" else _COUNTS
    unit, size = max(
        ((unit, size) for unit, size in units.items() if abs(value) >= size), key=itemgetter(1), default=("", 1)
    )
    return f"{value / size:.6g} {unit or ('us' if name == 'latency' else '')}".rstrip()


def read_bounds(least: Iterable[str], most: Iterable[str]) -> list[Bound]:
    """The bounds of `--min` and `--max`, one for each measure, in the order in which they were given.

    Raises:
        InputError: a bound cannot be read, is given twice, or contradicts another one.
    """
    values: dict[str, dict[str, float]] = {}
    for option, texts in (("max", most), ("min", least)):
        for text in texts:
            name, value = _read(f"--{option}", text)
            side = "low" if option == "min" else "high"
            if side in values.setdefault(name, {}):
                raise InputError(f"--{option} {text}: {name} has such a bound already, expected one")
            values[name][side] = value
    bounds = [Bound(name, **sides) for name, sides in values.items()]
    for bound in bounds:
        if bound.low > bound.high:
            raise InputError(f"no network has {bound}: --min {bound.name} is larger than --max {bound.name}")
    return bounds


def _read(option: str, text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in MEASURES:
        raise InputError(f"{option} is {text!r}, expected one of {', '.join(f'{each}=VALUE' for each in MEASURES)}")
    units = _TIMES if name == "latency" else _COUNTS
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?) ?([a-zA-Z]*)", value)
    if not match or match[2] not in units:
        example = "12ms, in us, ms or s" if name == "latency" else "600M, plain or in k, M or G"
        raise InputError(f"{option} is {text!r}, expected a number such as {name}={example}")
    return name, float(match[1]) * units[match[2]]


@dataclass(frozen=True)
class Limits:
    """Bounds on the costs of a space's archs.

    Attributes:
        measures: all known ones by name, also those without a bound.
    """

    space: Space
    bounds: Sequence[Bound]
    measures: Mapping[str, Measure]

    def costs(self, arch: Arch) -> dict[str, float]:
        return {name: measure.of(self.space, arch) for name, measure in self.measures.items()}

    def fits(self, arch: Arch) -> bool:
        costs = ((bound, self.measures[bound.name].of(self.space, arch)) for bound in self.bounds)
        return all(bound.low <= cost <= bound.high for bound, cost in costs)
