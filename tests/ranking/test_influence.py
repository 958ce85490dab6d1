"""Concordance by sorting against its definition, influences against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.ranking.influence import concordance, influences


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_concordance_is_the_mean_product_of_signs(pairs):
    x, y = np.array(pairs, dtype=float).T
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    np.testing.assert_allclose(concordance(x, y), signs.mean(1), atol=1e-12)


def test_an_influence_is_what_one_more_copy_of_an_arch_changes():
    x, noise = np.random.default_rng(0).normal(size=(2, 200))
    x = np.round(x, 1)
    y = x + noise
    values, of_archs = influences(x, y)
    for arch in range(5):
        more = np.append(np.arange(200), arch)
        moved = influences(x[more], y[more])[0] - values
        assert 201 * moved == pytest.approx(of_archs[:, arch], abs=0.02)


def test_influences_add_up_to_nothing():
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    np.testing.assert_allclose(influences(x, y)[1].mean(1), 0, atol=1e-12)
