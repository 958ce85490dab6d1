"""Drawing archs. Every draw is a function of what is passed in: no hidden generator."""

import random
from collections.abc import Callable, Sequence

from fewshot_nas.space.arch import DIGITS, MAX_DEPTHS, MIN_DEPTHS, STAGES, Arch

ALL_DIGITS = (DIGITS,) * STAGES

Pick = Callable[[Sequence[int]], int]


def largest(outs: Sequence[int] = (1,) * STAGES) -> Arch:
    """The deepest and widest arch, or that of given out digits."""
    return Arch(tuple(outs), tuple((1,) * depth for depth in MAX_DEPTHS))


def smallest(digits: Sequence[int] = ALL_DIGITS, outs: Sequence[int] | None = None) -> Arch:
    """The shallowest arch with the narrowest digit of each stage, or with other out digits."""
    mids = tuple((digit,) * depth for digit, depth in zip(digits, MIN_DEPTHS, strict=True))
    return Arch(tuple(digits if outs is None else outs), mids)


def random_arch(rng: random.Random, digits: Sequence[int] = ALL_DIGITS) -> Arch:
    """An arch with every depth and digit uniform; stage s uses the digits 1..digits[s].

    Only `rng.random()` is called, the one method whose sequence Python promises to keep.
    """
    return _draw(digits, lambda options: options[int(rng.random() * len(options))])


def fair_arch(seed: int, draw: int, digits: Sequence[int] = ALL_DIGITS) -> Arch:
    """Draw number `draw` of a strictly fair sequence (FairNAS, arXiv:1907.01845).

    Each decision runs through a fresh random order of its n options before any repeats: with
    seven digits, draws 0..6 use every digit of every block once, and so do draws 7..13. The
    depth, with four or seven options, is such a decision too.
    """
    slot = 0

    def pick(options: Sequence[int]) -> int:
        nonlocal slot
        slot += 1
        cycle, position = divmod(draw, len(options))
        return shuffled(random.Random(f"{seed}/{slot}/{cycle}"), options)[position]

    return _draw(digits, pick)


def shuffled(rng: random.Random, options: Sequence[int]) -> list[int]:
    """The options in a random order, by `rng.random()` alone."""
    return sorted(options, key=lambda _: rng.random())


def _draw(digits: Sequence[int], pick: Pick) -> Arch:
    depths = [pick(range(low, high + 1)) for low, high in zip(MIN_DEPTHS, MAX_DEPTHS, strict=True)]
    options = [range(1, count + 1) for count in digits]
    outs = tuple(map(pick, options))
    # Every slot takes its turn, also the absent ones: else fairness would hang on the depth.
    slots = [
        [pick(stage_options) for _ in range(count)] for stage_options, count in zip(options, MAX_DEPTHS, strict=True)
    ]
    return Arch(outs, tuple(tuple(mids[:depth]) for mids, depth in zip(slots, depths, strict=True)))
