"""Networks that get weights which are there: subnets of a supernet, supernets of finer splits, networks of files."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.batch import BatchShare
from fewshot_nas.models.supernet import BlockLayers, HeadLayers, Supernet, initialise, part
from fewshot_nas.space.space import Arch, Space
from fewshot_nas.space.split import Split

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


class Subnet(nn.Module):
    """The static network of one arch, with fresh weights.

    Unlike a supernet's, its batch norms have running statistics and use them after `eval()`.
    They start with mean 0 and variance 1: train the network or calibrate it before you score it.

    Attributes:
        trained_on: facts about its training images, see `Supernet`.
    """

    def __init__(self, space: Space, arch: Arch, num_classes: int) -> None:
        super().__init__()
        self.trained_on: Mapping[str, Any] = {}
        self.in_channels, self.num_classes = space.in_channels, num_classes
        self.blocks = nn.Sequential(*(BlockLayers(block, tracks=True) for _, block in space.blocks(arch)))
        self.head = HeadLayers(space.head(arch), num_classes)
        initialise(self, as_shortcuts=space.starts_as_shortcuts)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, classes] for images [B, C, H, W]."""
        logits: Tensor = self.head(self.blocks(x))
        return logits

    def shared(self, x: Tensor, share: BatchShare) -> Tensor:
        """As `forward`, of this process's share of a batch that several train on; all of them have to call this."""
        for block in self.blocks:
            assert isinstance(block, BlockLayers)
            x = block.shared(x, share)
        return self.head.shared(x, share)


def extract(supernet: Supernet, arch: Arch) -> Subnet:
    """Copy one subnet out of a supernet.

    The subnet is returned in training mode, in which it computes what the supernet computes. A
    supernet has no batch norm statistics, so calibrate the subnet's before you call `eval()`.
    """
    weights = supernet.tensors(arch)
    like = weights.head.weight
    plan = blueprint(lambda: Subnet(supernet.space, arch, supernet.num_classes), like.dtype)
    subnet = plan.to_empty(device=like.device)
    subnet.trained_on = supernet.trained_on
    with torch.no_grad():
        for target, source in zip(subnet.parameters(), weights.tensors(), strict=True):
            assert target.shape == source.shape
            target.copy_(source)
    for module in subnet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return subnet


def inherit(parent: Supernet, split: Split) -> Supernet:
    """A supernet of a finer split in which every subnet computes exactly what it computes in the parent.

    There is one rule (few-shot NAS, arXiv:2006.06863): a group takes its part of the tensors of the
    parent's group that contains all its members. So a few-shot split and the end of a phase in which the choices of a
    block share their weights are the same operation. Parent and child share no memory.

    Raises:
        InputError: the split equals the parent's, or does not refine it.
    """
    coarse = parent.split
    if split.space != coarse.space:
        raise InputError(f"split {split.name} is one of space {split.space.name}, expected {coarse.space.name}")
    if coarse.refines(split):
        raise InputError(f"split {split.name} has no more groups than the parent's split {coarse.name}, expected more")
    like = next(parent.parameters())
    homes = {home: split.parent_home(coarse, home) for home in (*split.homes, *split.heads)}
    child = blueprint(lambda: Supernet(split, parent.num_classes), like.dtype).to_empty(device=like.device)
    with torch.no_grad():
        for home, theirs in homes.items():
            found = dict(parent.stored(theirs).named_parameters())
            for name, ours in child.stored(home).named_parameters():
                ours.copy_(part(found[name], *ours.shape))
    return child
