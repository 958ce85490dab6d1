"""Supernets published by the competition's public solution.

Its files are bare state dicts. The keys, which usually begin with `module.`, tell the number of groups:

- one-shot: `blocks.{i}.`, i counted over all stages, and `classifier.linear.linear.`;
- few-shot: `blocks.{stage}.{group}.{i}.` and `classifier_groups.{group}.linear.linear.`.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fewshot_nas.models.subnet import blueprint, fill
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import STEM
from fewshot_nas.space.split import by_width

_HEAD = re.compile(r"((?:module\.)?)classifier(_groups\.\d+)?\.linear\.linear\.weight")
# Tensors that are ignored: running statistics, which fit no subnet, and shortcuts that no subnet can use.
_IDLE = re.compile(r".*\b(bn_tracking\b.*|num_batches_tracked|running_mean|running_var|short_(conv|bn)\..*)")
_UNITS = {
    ("main", "0"): ("conv1", "bn1"),
    ("main", "1"): ("conv2", "bn2"),
    ("shortcut", "0"): ("short_conv", "short_bn"),
}


def is_published(state: Mapping[Any, Any]) -> bool:
    """Whether a file's content has the classifier of a published supernet."""
    return bool(_heads(state))


def from_published(state: Mapping[str, Any], space: ResNetSpace) -> Supernet:
    """The supernet of a published state dict. The number of groups is found from the keys.

    Args:
        space: the space that the supernet was trained in; the published ones are of `track1`.

    Raises:
        InputError: names the first tensor that is missing, has a wrong shape, or is not needed.
    """
    heads = _heads(state)
    prefix, few_shot = heads[0][1], heads[0][2] is not None
    weight = state[heads[0].string]
    classes = len(weight) if isinstance(weight, Tensor) and weight.ndim == 2 else 1
    empty = blueprint(lambda: Supernet(by_width(space, len(heads)), classes))

    def key_of(name: str) -> str:
        return prefix + _key(name, few_shot, space)

    used = {key_of(name): parameter.shape for name, parameter in empty.named_parameters()}
    found = {
        key: _used(value, used.get(key)) for key, value in state.items() if key in used or not _IDLE.fullmatch(str(key))
    }
    return fill(empty, found, key_of)


def _used(value: Any, shape: torch.Size | None) -> Any:
    """The inputs that some subnet uses; a group of the first stage has inputs as wide as the whole stem, too."""
    is_kernel = isinstance(value, Tensor) and value.dim() == 4 and shape is not None
    return value[:, : shape[1]] if is_kernel and shape is not None and value.shape[1] > shape[1] else value


def _heads(state: Mapping[Any, Any]) -> list[re.Match[str]]:
    return [match for key in state if isinstance(key, str) and (match := _HEAD.fullmatch(key))]


def _key(name: str, few_shot: bool, space: ResNetSpace) -> str:
    """The public solution's key for a parameter of a `Supernet`."""
    kind, home, *rest = name.split(".")
    place, _, group = home.partition("_")
    if kind == "heads":
        return f"classifier{f'_groups.{group}' if few_shot else ''}.linear.linear.{rest[-1]}"
    path, number, layer, parameter = rest
    stage = space.places[int(place)].stage
    if stage == STEM:
        return f"first_conv.{'conv.conv' if layer == 'conv' else 'bn.bn'}.{parameter}"
    over_all = int(place) - 1  # the stem is the first place
    position = over_all - sum(most for _, most in space.depths[:stage])
    conv, norm = _UNITS[path, number]
    unit = f"{conv}.conv" if layer == "conv" else f"{norm}.bn"
    return f"blocks.{f'{stage}.{group}.{position}' if few_shot else over_all}.{unit}.{parameter}"
