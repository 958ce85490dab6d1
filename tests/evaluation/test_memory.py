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


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_where_memory_runs_out_half_as_many_images_go_through_and_no_score_changes(
    make_supernet, make_archs, inputs, monkeypatch, error
):
    supernet, archs, sizes = make_supernet(1), make_archs(4), []
    inputs = replace(inputs, batch=100, holds_kernels=True)
    expected, score = Scorer(supernet, inputs).scores(archs), Walk.score

    def fits_40(walk, images, labels):
        sizes.append(len(images))
        if len(images) > 40:
            raise error
        score(walk, images, labels)

    monkeypatch.setattr(Walk, "score", fits_40)
    found = Scorer(supernet, inputs, unit_networks=2).scores(archs)
    assert [each.top1 for each in found] == [each.top1 for each in expected]
    assert [each.prob for each in found] == pytest.approx([each.prob for each in expected], rel=1e-5)
    images = len(inputs.images)
    assert sizes[:2] == [min(100, images), min(50, images)]
    assert max(sizes[2:]) == 32  # from then on, and as many as a calibration batch, which cannot be divided


def test_where_not_even_calibration_fits_one_sentence_says_so(make_supernet, make_archs, inputs, monkeypatch):
    def runs_out(walk):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Walk, "calibrate", runs_out)
    with pytest.raises(InputError, match=r"ran out with 32 scoring images and 32 calibration images .* lower"):
        Scorer(make_supernet(1), replace(inputs, batch=100)).scores(make_archs(2))


def test_other_errors_stay_what_they_are(make_supernet, make_archs, inputs, monkeypatch):
    def fails(walk):
        raise RuntimeError("a defect")

    monkeypatch.setattr(Walk, "calibrate", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        Scorer(make_supernet(1), inputs).scores(make_archs(1))
