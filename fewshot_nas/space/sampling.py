"""Drawing archs. Each draw depends only on its arguments; there is no global generator."""

import random
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import TypeVar

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace

Pick = Callable[[Sequence[int]], int]
T = TypeVar("T", bound=Hashable)


def largest(space: SearchSpace, outs: Sequence[int] | None = None) -> Arch:
    """The deepest and widest arch; the out digits may be given."""
    mids = tuple((1,) * most for _, most in space.depths)
    return Arch((1,) * space.stages if outs is None else tuple(outs), mids)


def smallest(space: SearchSpace, digits: Sequence[int] | None = None, outs: Sequence[int] | None = None) -> Arch:
    """The shallowest and narrowest arch; the out digits may be given.

    Args:
        digits: the narrowest digit of each stage; the space's own if None.
    """
    digits = digits or space.all_digits
    mids = tuple((digit,) * least for digit, (least, _) in zip(digits, space.depths, strict=True))
    return Arch(tuple(digits if outs is None else outs), mids)


def random_arch(space: SearchSpace, rng: random.Random, digits: Sequence[int] | None = None) -> Arch:
    """An arch whose depths and digits are all drawn uniformly.

    Only `rng.random()` is called, because its sequence is the only one that Python promises to keep.

    Args:
        digits: stage s uses the digits 1..digits[s]; all digits of the space if None.
    """
    return _draw(space, digits, lambda options: options[int(rng.random() * len(options))])


def distinct(draw: Callable[[], T], count: int, known: Collection[T] = (), patience: int | None = None) -> list[T]:
    """Draw until `count` different results are found that are not known, in the order in which they came.

    There are fewer if there seem to be no others: `patience` draws in a row were repetitions, by default 1000, and 20
    for each result.
    """
    found: dict[T, None] = {}
    repeats = 0
    while len(found) < count and repeats < (patience or 1000 + 20 * len(found)):
        before, drawn = len(found), draw()
        if drawn not in known:
            found.setdefault(drawn)
        repeats = repeats + 1 if len(found) == before else 0
    return list(found)


def shuffled(rng: random.Random, options: Sequence[int]) -> list[int]:
    """The options in a random order; only `rng.random()` is called."""
    return sorted(options, key=lambda _: rng.random())


def _draw(space: SearchSpace, digits: Sequence[int] | None, pick: Pick) -> Arch:
    depths = [pick(range(least, most + 1)) for least, most in space.depths]
    options = [range(1, count + 1) for count in digits or space.all_digits]
    outs = tuple(map(pick, options))
    # Digits are drawn for absent slots too; otherwise the draws of a block would depend on other depths.
    slots = [
        [pick(stage_options) for _ in range(most)]
        for stage_options, (_, most) in zip(options, space.depths, strict=True)
    ]
    return Arch(outs, tuple(tuple(mids[:depth]) for mids, depth in zip(slots, depths, strict=True)))
