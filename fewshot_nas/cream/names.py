"""The names that timm's MobileNetV3, and so every published checkpoint, has for the tensors of a path's network."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import STEM

_CHOSEN = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_SEPARABLE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_HIDDEN = "conv_head.weight"  # a 1x1 convolution there


def timm_name(name: str, space: MBConvSpace) -> str:
    """timm's name for a tensor of a `Subnet`."""
    kind, *rest = name.split(".")
    if kind == "head":
        return f"{'conv_head' if rest[0] == 'hidden' else 'classifier'}.{rest[1]}"
    place, _, unit, layer, parameter = rest
    stages = [each.stage for each in space.places]
    stage = stages[int(place)]
    if stage == STEM:
        return f"{'conv_stem' if layer == 'conv' else 'bn1'}.{parameter}"
    units = _SEPARABLE if stage == 0 else _CHOSEN if stage <= len(space.lengths) else (("conv", "bn1"),)
    conv, norm = units[int(unit)]
    known = {"conv": conv, "norm": norm, "reduce": "se.conv_reduce", "expand": "se.conv_expand"}
    return f"blocks.{stage}.{int(place) - stages.index(stage)}.{known[layer]}.{parameter}"


def to_timm(state: Mapping[str, Tensor], space: MBConvSpace) -> dict[str, Tensor]:
    """The state dict of a `Subnet` with timm's names and shapes."""
    named = {timm_name(name, space): tensor for name, tensor in state.items()}
    named[_HIDDEN] = named[_HIDDEN][:, :, None, None]
    return named


def from_timm(state: Mapping[str, Any], names: Mapping[str, Tensor], space: MBConvSpace) -> dict[str, Any]:
    """The tensors that `to_timm` named, for a `Subnet` whose state dict is `names`.

    Raises:
        KeyError: one is missing.
    """
    found = {name: state[timm_name(name, space)] for name in names}
    return {name: value.flatten(1) if timm_name(name, space) == _HIDDEN else value for name, value in found.items()}
