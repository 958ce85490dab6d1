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
from fewshot_nas.models.published import from_published, is_published
from fewshot_nas.models.subnet import Subnet, blueprint, fill
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import replacing
from fewshot_nas.space.presets import TRACK1, space_of
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import split_of

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

    Raises:
        InputError: the file is missing, damaged, or holds anything but finite tensors and plain values.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
    supernet.trained_on = trained_on
    return supernet
