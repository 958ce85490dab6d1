"""Random numbers without a state: the number of an index does not depend on who asks for it, or in which order."""

import hashlib

import numpy as np
import torch
from torch import Tensor


def random_keys(stream: str, indices: Tensor) -> Tensor:
    """A random number in 0..2**63 - 1 for each index, which depends on `stream` and the index only.

    The generator is SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). It hashes
    a counter, so no process, worker or resumed run needs to know what another one has drawn.

    Args:
        stream: name of the sequence; sequences of different names are independent.
        indices: int64 [N], not negative.
    """
    start = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    keys = indices.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    keys = keys ^ (keys >> np.uint64(31))
    return torch.from_numpy((keys >> np.uint64(1)).astype(np.int64))


def uniform(stream: str, keys: Tensor) -> Tensor:
    """A random number in [0, 1) for each key, float64 [N]; the numbers of different streams are independent."""
    return random_keys(stream, keys).double() / 2**63


def random_order(stream: str, count: int) -> Tensor:
    """The indices 0..count-1 in a random order, int64 [count]."""
    return random_keys(stream, torch.arange(count)).argsort(stable=True)
