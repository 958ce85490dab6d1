"""Networks that are built to be filled with the weights of a parent, a supernet or a file."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError

M = TypeVar("M", bound=nn.Module)


def blueprint(build: Callable[[], M], dtype: torch.dtype = torch.float32) -> M:
    """The network that `build` makes, with shapes but without memory.

    `.to_empty(device=...)` allocates the memory. This way no time is spent on initial weights that
    would be replaced at once, and no random number is drawn.
    """
    with torch.device("meta"):
        return build().to(dtype)


def fill(empty: M, found: Mapping[str, Any], key_of: Callable[[str], str]) -> M:
    """Allocate a blueprint's memory and copy the weights of a file into it.

    Args:
        empty: the blueprint.
        found: the content of the file by its keys; values may be anything and are checked.
        key_of: maps a parameter's name to the file's key.

    Raises:
        InputError: names the first tensor that is missing, has a wrong shape, or is not needed.
    """
    expected = {key_of(name): parameter for name, parameter in empty.named_parameters()}
    for key, parameter in expected.items():
        _check(key, found.get(key), parameter.shape)
    if surplus := [key for key in found if key not in expected]:
        raise InputError(f"tensor {surplus[0]!r} does not belong to the network that the other tensors describe")
    network = empty.to_empty(device=found[next(iter(expected))].device)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(found[key_of(name)])
    return network


def _check(key: str, tensor: Any, shape: torch.Size) -> None:
    if tensor is None:
        raise InputError(f"tensor {key!r} is missing, expected one of shape {list(shape)}")
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InputError(f"{key!r} is a {kind}, expected a tensor of floating point numbers")
    if tensor.shape != shape:
        raise InputError(f"tensor {key!r} has shape {list(tensor.shape)}, expected {list(shape)}")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():  # a few bytes seen many times
        raise InputError(f"tensor {key!r} does not hold all its {tensor.numel():,} numbers")
