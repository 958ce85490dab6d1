"""Memory bounds the batch, and what can never fit is refused."""

import pytest

from fewshot_nas.errors import InputError
from fewshot_nas.evaluation.scorer import Scorer


@pytest.fixture
def fitted(make_supernet, make_archs, inputs):
    """The inputs that fit into some memory, and their estimate."""
    supernet, archs = make_supernet(2), make_archs(8)

    def of(memory_mb):
        scorer = Scorer(supernet, inputs, memory_mb=memory_mb, unit_networks=8)
        return scorer.within_memory(scorer.plan(archs))

    return of


@pytest.mark.parametrize("memory_mb", [None, 4096])
def test_enough_memory_leaves_the_batch_as_it_is(fitted, inputs, memory_mb):
    assert fitted(memory_mb)[0].batch == inputs.batch


def test_memory_bounds_the_batch_or_refuses(fitted, inputs):
    tight = next(mb for mb in range(800, 4096) if fits(fitted, mb))
    bounded, predicted_mb = fitted(tight)
    assert inputs.calibration_batch <= bounded.batch <= inputs.batch
    assert predicted_mb <= tight
    with pytest.raises(InputError, match=rf"may take {tight - 1} MB, but {tight} are needed .* of 32 images"):
        fitted(tight - 1)


def fits(fitted, memory_mb):
    try:
        return bool(fitted(memory_mb))
    except InputError:
        return False
