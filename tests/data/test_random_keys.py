"""Keys depend on the stream and the index, and on nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.data.images import random_keys, random_order


@given(st.text(), st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_key_does_not_depend_on_its_neighbours(stream, indices):
    together = random_keys(stream, torch.tensor(indices))
    alone = [random_keys(stream, torch.tensor([index])).item() for index in indices]
    assert together.tolist() == alone
    assert min(alone) >= 0


@pytest.mark.golden
def test_keys_never_change_or_old_runs_could_not_be_resumed():
    assert random_keys("stream", torch.arange(3)).tolist() == [
        6746092129693459455,
        583557508585592795,
        142919532952894761,
    ]
    assert random_order("stream", 8).tolist() == [2, 1, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize("modulus", [2, 9, 10])
def test_remainders_are_uniform(modulus):
    remainders = random_keys("uniform", torch.arange(90_000)) % modulus
    expected = 90_000 / modulus
    assert (remainders.bincount(minlength=modulus) - expected).abs().max() < 5 * expected**0.5


def test_streams_are_independent():
    first, second = (random_keys(stream, torch.arange(10_000)) % 2 for stream in ("a", "b"))
    assert (first == second).float().mean() == pytest.approx(0.5, abs=0.03)


@given(st.integers(0, 300))
def test_an_order_is_a_permutation(count):
    assert sorted(random_order("order", count).tolist()) == list(range(count))
