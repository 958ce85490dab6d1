"""A small space whose archs can all be counted."""

import dataclasses
import itertools

import pytest

from fewshot_nas.space.arch import Arch
from fewshot_nas.space.measure import cost_measures
from fewshot_nas.space.search_space import SPACES

TINY = dataclasses.replace(
    SPACES["cifar"],
    name="tiny",
    base_widths=(8, 12),
    ratios=(1.0, 0.7, 0.5),
    strides=(1, 2),
    depths=((1, 3), (2, 3)),
    pool_digits=(2, 3),
    resolution=8,
)


def all_archs(space, digits):
    """Every arch of a space."""
    stages = [
        [
            (out, mids)
            for out in range(1, count + 1)
            for depth in range(least, most + 1)
            for mids in itertools.product(range(1, count + 1), repeat=depth)
        ]
        for count, (least, most) in zip(digits, space.depths, strict=True)
    ]
    for choice in itertools.product(*stages):
        yield Arch(tuple(out for out, _ in choice), tuple(mids for _, mids in choice))


@pytest.fixture(scope="session")
def tiny():
    """A space of a few thousand archs, its measures, and each arch's costs."""
    measures = cost_measures(TINY, num_classes=4)
    archs = list(all_archs(TINY, TINY.pool_digits))
    costs = {arch: {name: measure.of(TINY, arch) for name, measure in measures.items()} for arch in archs}
    return TINY, measures, costs
