"""The next phase of few-shot training: a supernet with more groups that starts as its parent."""

import torch
from torch import nn

from fewshot_nas.errors import InputError
from fewshot_nas.models.blueprint import blueprint
from fewshot_nas.models.slicing import leading
from fewshot_nas.models.supernet import Supernet


def inherit(parent: Supernet, groups: int) -> Supernet:
    """A supernet with more groups in which every subnet computes exactly what it computes in the parent.

    One rule (few-shot NAS, arXiv:2006.06863): a group takes the leading slices of the parent's
    group with the smallest cap that is not below its own. Parent and child share no memory.

    Raises:
        InputError: the parent does not have fewer groups.
    """
    if groups <= parent.groups:
        raise InputError(f"a supernet of {parent.groups} groups cannot be split into {groups}, expected more groups")
    space, like = parent.space, parent.stem.conv.weight
    child = blueprint(lambda: Supernet(space, groups, parent.num_classes), like.dtype).to_empty(device=like.device)
    _copy_leading(child.stem, parent.stem)
    split = zip(
        [*range(space.stages), space.stages - 1],
        [*child.stages, child.heads],
        [*parent.stages, parent.heads],
        strict=True,
    )
    for stage, ours, theirs in split:
        for group, cap in enumerate(space.group_caps(stage, groups)):
            _copy_leading(ours[group], theirs[space.group_of(stage, parent.groups, cap)])
    return child


@torch.no_grad()
def _copy_leading(target: nn.Module, source: nn.Module) -> None:
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.copy_(leading(theirs, *ours.shape))
