"""The networks that the found one is compared with: ResNet-18, narrowed to about its cost, and a random one of it."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from fewshot_nas.searching.proposals import Candidates
from fewshot_nas.space.cost import Limits
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import Arch

REFERENCE_DIGIT = 2  # of the reference's widths, so that the search can be wider and narrower
_DRAWN, NEAR = 50, 0.05  # archs to choose from; a cost within this share is near enough


def reference(space: ResNetSpace) -> Arch:
    """ResNet-18's shape, all widths of one digit."""
    return _resnet(space, REFERENCE_DIGIT)


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


def widest(limits: Limits) -> Arch | None:
    """The widest ResNet-18 within the bounds; None if there is none."""
    assert isinstance(limits.space, ResNetSpace)
    return next((arch for arch in resnets(limits.space) if limits.fits(arch)), None)


def resnets(space: ResNetSpace) -> Iterator[Arch]:
    """ResNet-18's shape at all widths, from the widest: two blocks a stage, or the nearest number that the space has.

    Between two digits for all widths are those with the next digit in some last stages, first within the blocks only.
    """
    for digit in range(1, space.digits + 1):
        for step in range(2 * len(space.depths) if digit < space.digits else 1):
            yield _resnet(space, digit, step)


def _resnet(space: ResNetSpace, digit: int, step: int = 0) -> Arch:
    """ResNet-18's shape with widths of one digit, so many steps of `resnets` narrower."""
    stages = len(space.depths)
    depths = [min(max(2, least), most) for least, most in space.depths]
    out = [digit + (stage >= stages - step // 2) for stage in range(stages)]
    mid = [digit + (stage >= stages - (step + 1) // 2) for stage in range(stages)]
    return space.arch(out, [[each] * depth for each, depth in zip(mid, depths, strict=True)])


def _near(archs: Iterator[Arch], distance: Any) -> Arch | None:
    """The first arch that is near enough, else the nearest."""
    known = []
    for arch in islice(archs, _DRAWN):
        if distance(arch) <= NEAR:
            return arch
        known.append(arch)
    return min(known, key=distance, default=None)
