"""A small space whose archs can all be counted."""

import dataclasses

import pytest

from fewshot_nas.space.cost import cost_measures
from fewshot_nas.space.macro import MacroSpace
from fewshot_nas.space.mobilenet import MobileNetSpace
from fewshot_nas.space.pool import all_archs
from fewshot_nas.space.presets import SPACES

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


MOBILE = MobileNetSpace(
    "mobile", out_widths=(8, 12), mid_widths=((16,), (24, 20)), last_width=16, digits=3, resolution=8
)
MACRO = MacroSpace("little", stem_width=4, widths=(6, 8), lengths=(3, 3), last_width=16, resolution=8)


def counted(space):
    """A space of at most a few thousand archs, its measures, and each arch's costs."""
    measures = cost_measures(space, num_classes=4)
    archs = list(all_archs(space, space.pool_options))
    assert len(set(archs)) == space.count(space.pool_options)
    costs = {arch: {name: measure.of(space, arch) for name, measure in measures.items()} for arch in archs}
    return space, measures, costs


@pytest.fixture(scope="session")
def tiny():
    """ResNets."""
    return counted(TINY)


@pytest.fixture(scope="session", params=[TINY, MOBILE, MACRO], ids=lambda space: space.kind)
def small(request):
    """One space of each kind."""
    return counted(request.param)
