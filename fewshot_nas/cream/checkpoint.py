"""Files of retrained networks, `.pth.tar` as in the public code: weights and their moving average.

Tensors have the names of timm's MobileNetV3 there, as in every published checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cream.model import Model
from fewshot_nas.models.checkpoint import NOTHING
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.records.files import replacing
from fewshot_nas.space.mbconv import MBConvSpace
from fewshot_nas.space.space import STEM

_AVERAGE, _WEIGHTS = "state_dict_ema", "state_dict"
_CHOSEN = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
_SEPARABLE = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_HIDDEN = "conv_head.weight"  # a 1x1 convolution there


def save_child(
    path: Path, model: Model, network: Subnet, average: Subnet, trained_on: Mapping[str, Any] = NOTHING
) -> None:
    """Write a network and its moving average, whole or not at all.

    Args:
        trained_on: facts about its images, see `running.images.trained_on`.
    """
    space = model.on(network.in_channels)
    weights = {key: to_timm(each.state_dict(), space) for key, each in ((_WEIGHTS, network), (_AVERAGE, average))}
    content = {**model.values(), "trained_on": dict(trained_on), **weights}
    with replacing(path) as stream:
        torch.save(content, stream)


def child_of(path: Path, content: Mapping[Any, Any], model: Model, num_classes: int, in_channels: int) -> Subnet:
    """The network of a model, with the averaged weights of a file, or the plain ones if there are no averaged ones.

    Args:
        content: of the file, from `read_checkpoint`.

    Raises:
        InputError: the file holds another network; names the first difference.
    """
    try:
        _check_model(content, model)
        space = model.on(in_channels)
        network = Subnet(space, model.arch, num_classes)
        state = network.state_dict()
        network.load_state_dict(from_timm(_fitting(_weights(content), to_timm(state, space)), state, space))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return network


def _check_model(content: Mapping[Any, Any], model: Model) -> None:
    """Compare what the file says; files of other programs say nothing."""
    for key, value in model.values().items():
        if content.get(key, value) != value:
            raise InputError(
                f"holds a network with {key} {content[key]}, but the selected model has {value};"
                " set MODEL_SELECTION, INPUT_ARCH, IMAGE_SIZE or SPACE as in its training"
            )


def _weights(content: Mapping[Any, Any]) -> Mapping[str, Any]:
    for key in (_AVERAGE, _WEIGHTS):
        if isinstance(weights := content.get(key), Mapping):
            return {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    raise InputError(f"has neither {_AVERAGE} nor {_WEIGHTS}, expected a .pth.tar of a retraining")


def _fitting(found: Mapping[str, Any], expected: Mapping[str, Tensor]) -> Mapping[str, Any]:
    """The weights of the file, after a check that they fit the expected network."""
    for name, tensor in expected.items():
        shape = list(found[name].shape) if isinstance(found.get(name), Tensor) else None
        if shape != list(tensor.shape):
            raise InputError(
                f"tensor {name} has shape {shape}, but the selected model expects {list(tensor.shape)};"
                " set MODEL_SELECTION or INPUT_ARCH, and the data set, as in its training"
            )
    if surplus := sorted(found.keys() - expected.keys()):
        raise InputError(
            f"tensor {surplus[0]} does not belong to the selected model; set MODEL_SELECTION or INPUT_ARCH"
        )
    return found


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
