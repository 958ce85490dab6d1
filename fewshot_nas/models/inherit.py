"""The start of the next few-shot phase: a supernet of a finer split, with the weights of its parent."""

import torch
from torch import nn

from fewshot_nas.errors import InputError
from fewshot_nas.models.blueprint import blueprint
from fewshot_nas.models.slicing import leading
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import Split


def inherit(parent: Supernet, split: Split) -> Supernet:
    """A supernet of a finer split in which every subnet computes exactly what it computes in the parent.

    There is one rule (few-shot NAS, arXiv:2006.06863): a group takes the leading slices of the
    parent's group that contains all its members. Parent and child share no memory.

    Raises:
        InputError: the split equals the parent's, or does not refine it.
    """
    coarse, last = parent.split, parent.space.stages - 1
    if split.space != coarse.space:
        raise InputError(f"split {split.name} is one of space {split.space.name}, expected {coarse.space.name}")
    if coarse.refines(split):
        raise InputError(f"split {split.name} has no more groups than the parent's split {coarse.name}, expected more")
    like = parent.stem.conv.weight
    homes = [
        [split.parent_group(coarse, stage, group) for group in range(len(split.capacities(stage)))]
        for stage in range(parent.space.stages)
    ]
    child = blueprint(lambda: Supernet(split, parent.num_classes), like.dtype).to_empty(device=like.device)
    _copy_leading(child.stem, parent.stem)
    ours, theirs = [*child.stages, child.heads], [*parent.stages, parent.heads]
    for mine, others, found in zip(ours, theirs, [*homes, homes[last]], strict=True):
        for group, home in enumerate(found):
            _copy_leading(mine[group], others[home])
    return child


@torch.no_grad()
def _copy_leading(target: nn.Module, source: nn.Module) -> None:
    """Fill a module from one whose parameters have the same names but may be larger, and that may have more blocks."""
    found = dict(source.named_parameters())
    for name, ours in target.named_parameters():
        ours.copy_(leading(found[name], *ours.shape))
