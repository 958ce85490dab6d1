"""A supernet small enough for many steps, and a batch for it."""

import copy

import pytest
import torch

from fewshot_nas.cream.board import Board, BoardEntry
from fewshot_nas.cream.model import CreamSpace
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.split import one_shot

DEPTHS = (1, 2, 1, 1, 1)
CLASSES = 5


@pytest.fixture(scope="session")
def _first_supernet():
    torch.manual_seed(0)
    return Supernet(one_shot(CreamSpace().of(DEPTHS, 32, 1)), CLASSES)


@pytest.fixture
def supernet(_first_supernet):
    """In training mode, the same for every test."""
    return copy.deepcopy(_first_supernet).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 1, 32, 32, generator=generator), torch.randint(CLASSES, (8,), generator=generator)


@pytest.fixture
def paths():
    """Four paths that share no block."""
    return [(choice,) * 6 for choice in (1, 2, 3, 5)]


@pytest.fixture
def board(paths):
    """The last three of `paths`, with slices of two images."""
    generator = torch.Generator().manual_seed(2)
    filled = Board(3)
    for place, path in enumerate(paths[1:]):
        images = torch.randn(2, 1, 32, 32, generator=generator)
        softmax = torch.rand(2, CLASSES, generator=generator).softmax(1)
        filled.offer(BoardEntry(path, 50.0 - place, 10.0, images, softmax))
    return filled
