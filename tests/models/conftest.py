"""Supernets to look at: small ones, every tensor of which shows in the logits."""

from functools import cache

import pytest
import torch

from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import Space
from fewshot_nas.space.split import Split, by_width


def make_supernet(of: str | Space | Split, groups: int = 1) -> Supernet:
    """Fresh weights from seed 0; norms are random, for those at 0 would hide their blocks.

    Args:
        of: the name of a preset or a space, to be split by width into groups, or a split.
    """
    torch.manual_seed(0)
    split = of if isinstance(of, Split) else by_width(SPACES[of] if isinstance(of, str) else of, groups)
    supernet = Supernet(split, num_classes=10)
    for parameter in supernet.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.2, 0.8)
    return supernet


@pytest.fixture
def fresh():
    """Makes a supernet that the test may change."""
    return make_supernet


@pytest.fixture(scope="session")
def shared():
    """Gives the one supernet of these arguments, not to be changed but for gradients."""
    return cache(make_supernet)
