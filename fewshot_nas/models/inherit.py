"""The start of the next phase: a supernet of a finer split, with the weights of its parent."""

import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.blueprint import blueprint
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.models.view import part
from fewshot_nas.space.split import Split


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
