"""Memory bounds the batch, and what can never fit is refused."""

from dataclasses import replace

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.engine import Walk
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


def test_a_gpu_holds_kernels_and_then_images_if_they_fit_beside_the_batch(make_supernet, make_archs, inputs):
    """Nothing is computed here, so the GPU need not be there."""
    supernet, archs = make_supernet(1), make_archs(8, stems=1)

    def fitted(memory_mb, device="cuda"):
        scorer = Scorer(supernet, replace(inputs, device=torch.device(device)), memory_mb=memory_mb, unit_networks=8)
        found, predicted_mb = scorer.within_memory(scorer.plan(archs))
        assert found.batch == inputs.batch
        return (found.holds_kernels, found.holds_images), predicted_mb

    (nothing, bare_mb), (everything, all_mb) = fitted(None), fitted(4096)
    assert (nothing, everything) == ((False, False), (True, True))
    (unit,) = Scorer(supernet, inputs, unit_networks=8).plan(archs).units
    kernels = Walk(supernet, unit, inputs).convs()
    kernels_mb = 4 * sum(conv.weights.conv.numel() for conv in kernels) / 2**20
    images_mb = (inputs.images.nbytes + inputs.calibration.nbytes) / 2**20
    assert all_mb == pytest.approx(bare_mb + kernels_mb + images_mb)
    assert fitted(bare_mb + 1.001 * kernels_mb) == ((True, False), pytest.approx(bare_mb + kernels_mb))
    assert fitted(bare_mb + 0.999 * kernels_mb)[0] == (False, True)
    assert fitted(4096, "cpu")[0] == (False, False)


def fits(fitted, memory_mb):
    try:
        return bool(fitted(memory_mb))
    except InputError:
        return False
