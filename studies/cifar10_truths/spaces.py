"""Spaces that an arm needs and the package does not have."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.resnet import ResNetSpace


@dataclass(frozen=True)
class OpenSpace(ResNetSpace):
    """ResNets whose blocks do not begin as their shortcuts: the last norm of a block has weight 1 at first."""

    starts_as_shortcuts: ClassVar[bool] = False


def _opened(space: ResNetSpace) -> OpenSpace:
    values = {field.name: getattr(space, field.name) for field in dataclasses.fields(space) if field.init}
    return OpenSpace(**values)


_QUARTER = SPACES["channel_resnet_quarter"]
assert isinstance(_QUARTER, ResNetSpace)
OPEN_RESNET = _opened(_QUARTER)
