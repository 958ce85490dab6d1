"""Networks whose weights come from elsewhere: a parent, a supernet, a file."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.errors import InputError

M = TypeVar("M", bound=nn.Module)


def blueprint(build: Callable[[], M], dtype: torch.dtype = torch.float32) -> M:
    """What `build` makes, with shapes but without memory.

    `.to_empty(device=...)` gives it memory. So no time is spent on weights that are replaced at
    once, and no random number is drawn.
    """
    with torch.device("meta"):
        return build().to(dtype)


def fill(plan: M, found: Mapping[str, Any], key_of: Callable[[str], str]) -> M:
    """Give a blueprint memory, its weights and its buffers, as copies.

    Args:
        found: tensors of a file by the file's keys; may hold anything, as files may.
        key_of: the file's key for a name in the network.

    Raises:
        InputError: names the first tensor that is missing, does not fit or has no place.
    """
    expected = {key_of(name): tensor for name, tensor in plan.state_dict().items()}
    for key, tensor in expected.items():
        _check(key, found.get(key), tensor)
    if surplus := [key for key in found if key not in expected]:
        raise InputError(f"tensor {surplus[0]!r} has no place in the network that the others describe")
    network = plan.to_empty(device=found[next(iter(expected))].device)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(found[key_of(name)])
    return network


def _check(key: str, tensor: Any, expected: Tensor) -> None:
    if tensor is None:
        raise InputError(f"tensor {key!r} is missing, expected one of shape {list(expected.shape)}")
    if not isinstance(tensor, Tensor) or tensor.is_floating_point() != expected.is_floating_point():
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        numbers = "floating point numbers" if expected.is_floating_point() else "whole numbers"
        raise InputError(f"{key!r} is a {kind}, expected a tensor of {numbers}")
    if tensor.shape != expected.shape:
        raise InputError(f"tensor {key!r} has shape {list(tensor.shape)}, expected {list(expected.shape)}")
