"""The training of the arm `even`: a weight that fewer networks have is moved further by each of them; plan.md says why.

The widest quarter of a width's channels belongs to a quarter of the drawn networks, so it learns slowest. Here the
gradient of each weight is divided by the share of a step's networks that have it, relative to the weights that all
have, as `few_shot.lr_multipliers=rule` does for whole groups.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from unittest.mock import patch

import torch
from torch import Tensor

from fewshot_nas.data.loader import Batch
from fewshot_nas.models.supernet import Supernet, part
from fewshot_nas.training.draws import Draws
from fewshot_nas.training.step import SupernetStep
from fewshot_nas.training.task import Trained

STEPS = 200  # whose networks are counted


@torch.no_grad()
def shares(supernet: Supernet, draws: Draws) -> list[Tensor]:
    """The share of the networks of a step that have each weight, for each parameter; 1 where none has it."""
    counts = deepcopy(supernet)
    for parameter in counts.parameters():
        parameter.zero_()
    archs = [arch for step in range(STEPS) for arch in draws.archs(step)]
    for arch in archs:
        counts.tensors(arch, lambda parameter, *sizes: part(parameter, *sizes).add_(1))
    return [torch.where(each > 0, each / len(archs), 1.0) for each in counts.parameters()]


@contextmanager
def evenly() -> Iterator[None]:
    """Within it, supernets are trained so."""
    plain, known = SupernetStep.backward, list[Tensor]()

    def backward(self: SupernetStep, network: Supernet, batch: Batch) -> Trained:
        trained = plain(self, network, batch)
        if not known:
            known.extend(shares(network, self.sampler))
        for parameter, share in zip(network.parameters(), known, strict=True):
            if parameter.grad is not None:
                parameter.grad /= share
        return trained

    with patch.object(SupernetStep, "backward", backward):
        yield
