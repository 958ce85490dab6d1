"""The networks that the found one is compared with, at its cost: ResNet-18's shape, narrowed, and a random one."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from fewshot_nas.searching.bounds import Limits
from fewshot_nas.searching.candidates import Candidates
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch

_DRAWN, NEAR = 50, 0.05  # archs to choose from; a cost within this share is near enough


def opponents(limits: Limits, found: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Codes of the reference and of a random arch within the bounds, of the found arch's cost by the first measure.

    Args:
        found: what the search has written.
    """
    space, measure = limits.space, limits.measures[limits.bounds[0].name]
    assert isinstance(space, ResNetSpace)
    best = space.decode(found["archs"][0]["code"])
    cost = measure.of(space, best)

    def distance(arch: Arch) -> float:
        return abs(measure.of(space, arch) / cost - 1)

    shapes = [arch for arch in resnets(space) if arch != best]
    within = [arch for arch in shapes if limits.fits(arch)]
    near = min(within or shapes, key=distance)
    drawn = Candidates(limits, space.pool_options, best)
    others = (arch for arch in (drawn.draw(seed, n) for n in range(_DRAWN)) if arch not in (best, near))
    random = _near(others, distance)
    codes = {"reference": space.encode(near)}
    return codes if random is None else codes | {"random": space.encode(random)}


def resnets(space: ResNetSpace) -> Iterator[Arch]:
    """ResNet-18's shape at all widths, from the widest: two blocks a stage, or the nearest number that the space has.

    Between two digits for all widths are those with the next digit in some last stages, first within the blocks only.
    """
    stages = len(space.depths)
    depths = [min(max(2, least), most) for least, most in space.depths]
    for digit in range(1, space.digits + 1):
        for step in range(2 * stages if digit < space.digits else 1):
            out = [digit + (stage >= stages - step // 2) for stage in range(stages)]
            mid = [digit + (stage >= stages - (step + 1) // 2) for stage in range(stages)]
            yield space.arch(out, [[each] * depth for each, depth in zip(mid, depths, strict=True)])


def _near(archs: Iterator[Arch], distance: Any) -> Arch | None:
    """The first arch that is near enough, else the nearest."""
    known = []
    for arch in islice(archs, _DRAWN):
        if distance(arch) <= NEAR:
            return arch
        known.append(arch)
    return min(known, key=distance, default=None)
