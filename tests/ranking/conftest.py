"""A bed of archs whose accuracies follow from their shapes, and a supernet that is biased as real ones are."""

from dataclasses import dataclass

import numpy as np
import pytest

from fewshot_nas.ranking.features import features, standardised, weights
from fewshot_nas.ranking.ranker import percent
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]


@dataclass(frozen=True)
class Bed:
    """400 archs: features, stand-alone accuracies with a seed's noise, scores that underrate multiply-adds."""

    described: np.ndarray
    weights: np.ndarray
    truth: np.ndarray
    scores: np.ndarray


@pytest.fixture(scope="session")
def bed():
    described = features(SPACES["px28"], make_pool(PX8, seed=1, size=400).values(), num_classes=10)
    columns, rng = standardised(described), np.random.default_rng(0)
    depths, last_width, macs = columns[:, :4].sum(1), columns[:, 7], columns[:, -2]
    quality = 0.4 * depths + 0.6 * last_width + 0.5 * macs
    quality -= 0.1 * quality**2
    seen = quality - 0.5 * macs + 0.2 * last_width + 0.4 * rng.normal(size=400)
    return Bed(described, weights(PX8), percent(0.3 * quality + 0.05 * rng.normal(size=400)), percent(0.3 * seen))
