"""Drawing archs. Each draw depends only on its arguments; there is no global generator.

Draws only use `random.Random.random()`, because its sequence is the only one that Python promises to keep.
"""

import random
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import TypeVar

from fewshot_nas.space.space import Arch, Options, Space

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


def random_arch(space: Space, rng: random.Random, options: Options | None = None) -> Arch:
    """An arch whose choices are all drawn uniformly.

    Args:
        options: for each slot, the options to draw from; all options of the space if None.
    """
    # Choices are drawn for absent slots too; otherwise the draws of a block would depend on other depths.
    return space.canonical([each[int(rng.random() * len(each))] for each in options or space.all_options])


def distinct(draw: Callable[[], H], count: int, known: Collection[H] = (), patience: int | None = None) -> list[H]:
    """Draw until `count` different results are found that are not known, in the order in which they came.

    There are fewer if there seem to be no others: `patience` draws in a row were repetitions, by default 1000, and 20
    for each result.
    """
    found: dict[H, None] = {}
    repeats = 0
    while len(found) < count and repeats < (patience or 1000 + 20 * len(found)):
        before, drawn = len(found), draw()
        if drawn not in known:
            found.setdefault(drawn)
        repeats = repeats + 1 if len(found) == before else 0
    return list(found)


def all_archs(space: Space, options: Options | None = None) -> Iterator[Arch]:
    """Every arch with these options, each once, in ascending order."""

    def from_slot(begun: list[int]) -> Iterator[Arch]:
        number = len(begun)
        if number == len(space.slots):
            yield tuple(begun)
            return
        when = space.slots[number].when
        here = each[number] if when is None or begun[when[0]] >= when[1] else (0,)
        for value in here:
            yield from from_slot([*begun, value])

    each = options or space.all_options
    return from_slot([])


def with_outs(space: Space, arch: Arch, other: Arch) -> Arch:
    """An arch with the output widths of another one."""
    return tuple(
        theirs if slot.role == "out" else ours for slot, ours, theirs in zip(space.slots, arch, other, strict=True)
    )


def shuffled(rng: random.Random, options: Sequence[T]) -> list[T]:
    """The options in a random order; only `rng.random()` is called."""
    return sorted(options, key=lambda _: rng.random())
