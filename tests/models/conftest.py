"""Supernets to look at: small ones, every tensor of which shows in the logits."""

from collections.abc import Callable
from functools import cache

import pytest
import torch

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.space.split import by_width


def make_supernet(space: str, groups: int) -> Supernet:
    """Fresh weights from seed 0; norms are random, for those at 0 would hide their blocks."""
    torch.manual_seed(0)
    supernet = Supernet(by_width(SPACES[space], groups), num_classes=10)
    for parameter in supernet.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.2, 0.8)
    return supernet


@pytest.fixture
def fresh() -> Callable[[str, int], Supernet]:
    """Makes a supernet that the test may change."""
    return make_supernet


@pytest.fixture(scope="session")
def shared() -> Callable[[str, int], Supernet]:
    """Gives the one supernet of these arguments, not to be changed but for gradients."""
    return cache(make_supernet)
