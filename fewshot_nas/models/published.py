"""Supernets published by the competition's public solution.

Its files are bare state dicts. The keys, which usually begin with `module.`, tell the number of groups:

- one-shot: `blocks.{i}.`, i counted over all stages, and `classifier.linear.linear.`;
- few-shot: `blocks.{stage}.{group}.{i}.` and `classifier_groups.{group}.linear.linear.`.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fewshot_nas.models.blueprint import blueprint, fill
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.search_space import SearchSpace
from fewshot_nas.space.split import by_width

_HEAD = re.compile(r"((?:module\.)?)classifier(_groups\.\d+)?\.linear\.linear\.weight")
# Tensors that are ignored: running statistics, which fit no subnet, and shortcuts that no subnet can use.
_IDLE = re.compile(r".*\b(bn_tracking\b.*|num_batches_tracked|running_mean|running_var|short_(conv|bn)\..*)")
_LAYERS = {
    ("conv1", "conv"): "conv1.conv",
    ("conv1", "norm"): "bn1.bn",
    ("conv2", "conv"): "conv2.conv",
    ("conv2", "norm"): "bn2.bn",
    ("shortcut", "conv"): "short_conv.conv",
    ("shortcut", "norm"): "short_bn.bn",
}


def is_published(state: Mapping[Any, Any]) -> bool:
    """Whether a file's content has the classifier of a published supernet."""
    return bool(_heads(state))


def from_published(state: Mapping[str, Any], space: SearchSpace) -> Supernet:
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

    used = {key_of(name) for name, _ in empty.named_parameters()}
    found = {key: value for key, value in state.items() if key in used or not _IDLE.fullmatch(str(key))}
    return fill(empty, found, key_of)


def _heads(state: Mapping[Any, Any]) -> list[re.Match[str]]:
    return [match for key in state if isinstance(key, str) and (match := _HEAD.fullmatch(key))]


def _key(name: str, few_shot: bool, space: SearchSpace) -> str:
    """The public solution's key for a parameter of a `Supernet`."""
    match name.split("."):
        case ["stem", layer, kind]:
            return f"first_conv.{'conv.conv' if layer == 'conv' else 'bn.bn'}.{kind}"
        case ["heads", group, kind]:
            return f"classifier{f'_groups.{group}' if few_shot else ''}.linear.linear.{kind}"
        case ["stages", stage, group, block, unit, layer, kind]:
            over_all = sum(most for _, most in space.depths[: int(stage)]) + int(block)
            place = f"{stage}.{group}.{block}" if few_shot else f"{over_all}"
            return f"blocks.{place}.{_LAYERS[unit, layer]}.{kind}"
    raise AssertionError(f"a supernet has no parameter {name}")
