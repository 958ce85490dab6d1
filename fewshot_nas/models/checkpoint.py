"""Supernets in files.

A file is a dict with the keys `format`, `space`, `groups` (the split), `num_classes`, `trained_on` and `model`.
Training adds more keys, which are ignored when the supernet is read. The bare state dicts of the
competition's public solution can be read too. Only tensors and plain values are unpickled, so that a
checkpoint can never run code.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.names import extra
from fewshot_nas.models.subnet import Subnet, blueprint, fill
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import replacing
from fewshot_nas.space.presets import TRACK1, space_of
from fewshot_nas.space.resnet import ResNetSpace
from fewshot_nas.space.space import STEM, Arch, Space
from fewshot_nas.space.split import by_width, split_of

FORMAT = "fewshot_nas supernet 1"
SUBNET_FORMAT = "fewshot_nas subnet 1"
NOTHING: Mapping[str, Any] = MappingProxyType({})


def save_supernet(path: Path, supernet: Supernet, more: Mapping[str, Any] = NOTHING) -> None:
    """Write a supernet and more content into one file, whole or not at all.

    Args:
        more: tensors and plain values (numbers, strings, lists, dicts) by other keys.
    """
    content = {
        **more,
        "format": FORMAT,
        "space": supernet.space.values(),
        **supernet.split.values(),
        "num_classes": supernet.num_classes,
        "trained_on": dict(supernet.trained_on),
        "two_sided": supernet.two_sided,
        "model": supernet.state_dict(),
    }
    with replacing(path) as stream:
        torch.save(content, stream)


def save_subnet(path: Path, subnet: Subnet, space: Space, code: str) -> None:
    """Write a subnet with its statistics and what it is, whole or not at all."""
    content = {
        "format": SUBNET_FORMAT,
        "space": space.values(),
        "arch": code,
        "num_classes": subnet.num_classes,
        "trained_on": dict(subnet.trained_on),
        "model": subnet.state_dict(),
    }
    with replacing(path) as stream:
        torch.save(content, stream)


def is_subnet(content: Mapping[Any, Any]) -> bool:
    """Whether `save_subnet` may have written it."""
    return content.get("format") == SUBNET_FORMAT


def subnet_of(path: Path, content: Mapping[Any, Any]) -> tuple[Subnet, Space, Arch]:
    """The subnet in what `read_checkpoint` read, in evaluation mode, its space and its arch.

    Raises:
        InputError: the file describes none.
    """
    try:
        space = space_of(content["space"])
        arch = space.decode(content["arch"])
        subnet = Subnet(space, arch, content["num_classes"])
        subnet.load_state_dict(content["model"])
        subnet.trained_on = dict(content.get("trained_on", {}))
    except (InputError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: does not describe a subnet ({type(error).__name__}: {reason})") from None
    return subnet.eval(), space, arch


def load_supernet(path: Path, device: torch.device | str = "cpu") -> Supernet:
    """Read a supernet from a file of this package or of the public solution.

    Raises:
        InputError: the file cannot be read, or holds no supernet; see `read_checkpoint` and `supernet_of`.
    """
    return supernet_of(path, read_checkpoint(path)).to(device)


def read_checkpoint(path: Path) -> dict[Any, Any]:
    """Read the whole content of a file into main memory: on a GPU it would be a second copy of all weights.

    It is torch's, or by its ending that of safetensors.

    Raises:
        InputError: the file is missing, damaged, or holds anything but finite tensors and plain values.
    """
    apart = extra("safetensors.torch") if path.suffix == ".safetensors" else None
    try:
        content = apart.load_file(path) if apart else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # torch.load may raise almost anything if the file is no checkpoint
        raise InputError(
            f"{path}: cannot be read as a checkpoint of tensors and plain values ({_why(error)})"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, expected a dict")
    for name, tensor in _tensors(content):
        if tensor.is_floating_point() and not tensor.is_meta and not tensor.isfinite().all():
            raise InputError(
                f"{path}: tensor {name} has values that are not finite: the file is damaged, or its training"
                " diverged; take another checkpoint, or train anew"
            )
    return content


def _tensors(content: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in nested dicts and lists, with their keys joined by dots."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping | list | tuple):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _tensors(value, f"{name}.{key}" if name else str(key))


def _why(error: Exception) -> str:
    """A reason without torch's advice to unpickle the file in spite of it, which would run its code."""
    if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it holds an object of {named[1]}, which could run code; write the file without it where it comes from"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return "it is no file of torch's, or holds other objects" if "weights_only" in str(error) else reason


def supernet_of(path: Path, content: Mapping[Any, Any]) -> Supernet:
    """The supernet in a content that `read_checkpoint` returned.

    Raises:
        InputError: names the file and the first tensor that does not fit.
    """
    try:
        supernet = from_published(content, TRACK1) if is_published(content) else _own(content)
        supernet.source = path
        return supernet
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _own(content: Mapping[Any, Any]) -> Supernet:
    if content.get("format") != FORMAT:
        raise InputError(f"format is {content.get('format')!r}, expected {FORMAT!r} or a published state dict")
    try:
        space = space_of(content["space"])
        split = split_of(space, content)
        empty = blueprint(lambda: Supernet(split, content["num_classes"]))
        found, trained_on = dict(content["model"]), dict(content.get("trained_on", {}))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"does not describe a supernet ({type(error).__name__}: {error})") from None
    supernet = fill(empty, found, lambda name: name)
    supernet.trained_on, supernet.two_sided = trained_on, bool(content.get("two_sided", False))
    return supernet


# ---- files of the competition's public solution: bare state dicts, whose keys tell the number of groups --------------
#
# Keys usually begin with `module.`. One-shot: `blocks.{i}.`, i counted over all stages, and
# `classifier.linear.linear.`; few-shot: `blocks.{stage}.{group}.{i}.` and `classifier_groups.{group}.linear.linear.`.

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
        return prefix + _published_key(name, few_shot, space)

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


def _published_key(name: str, few_shot: bool, space: ResNetSpace) -> str:
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
