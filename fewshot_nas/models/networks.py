"""Trained networks in files: one subnet with its weights and batch norm statistics, ready to be used or exported.

A file is a dict with `format`, `space`, `arch` (the code), `num_classes` and `model`; a training may add
keys of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fewshot_nas.errors import InputError
from fewshot_nas.files import replacing
from fewshot_nas.models.blueprint import blueprint, fill
from fewshot_nas.models.checkpoint import NOTHING, read_checkpoint
from fewshot_nas.models.subnet import Subnet
from fewshot_nas.space.arch import Arch
from fewshot_nas.space.search_space import SearchSpace

FORMAT = "fewshot_nas network 1"


class Network(NamedTuple):
    """A trained subnet, and what it is."""

    space: SearchSpace
    arch: Arch
    num_classes: int
    module: Subnet


def save_network(path: Path, network: Network, more: Mapping[str, Any] = NOTHING) -> None:
    """Write a network, and `more` beside it, whole or not at all.

    Args:
        more: tensors and plain values under keys of its own.
    """
    content = {
        **more,
        "format": FORMAT,
        "space": network.space.values(),
        "arch": network.space.encode(network.arch),
        "num_classes": network.num_classes,
        "model": network.module.state_dict(),
    }
    with replacing(path) as stream:
        torch.save(content, stream)


def load_network(path: Path, device: torch.device | str = "cpu") -> Network:
    """Read a network, in evaluation mode.

    Raises:
        InputError: as `read_checkpoint` and `network_of`.
    """
    return network_of(path, read_checkpoint(path, device))


def is_network(content: Mapping[Any, Any]) -> bool:
    """Whether a checkpoint holds a trained network rather than a supernet."""
    return content.get("format") == FORMAT


def network_of(path: Path, content: Mapping[Any, Any]) -> Network:
    """The network in what `read_checkpoint` read.

    Raises:
        InputError: names the file and, where a tensor does not fit, the first one.
    """
    if not is_network(content):
        raise InputError(f"{path}: format is {content.get('format')!r}, expected {FORMAT!r}")
    try:
        space = SearchSpace.of(content["space"])
        arch, num_classes = space.decode(content["arch"]), content["num_classes"]
        plan = blueprint(lambda: Subnet(space, arch, num_classes))
        module = fill(plan, dict(content["model"]), lambda name: name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path}: does not describe a network ({type(error).__name__}: {error})") from None
    return Network(space, arch, num_classes, module.eval())
