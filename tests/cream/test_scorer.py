"""Paths scored together, against the plain way: extract, calibrate, measure."""

import pytest
import torch

from fewshot_nas.cream.scorer import PathScorer, shared
from fewshot_nas.evaluation.inputs import Inputs
from fewshot_nas.evaluation.naive import calibrate, measure
from tests.rounding import bound

PATHS = [
    ((1,), (3, 3), (2,), (0,), (4,)),
    ((5,), (0, 1), (2,), (3,), (1,)),
    ((1,), (3, 3), (2,), (0,), (5,)),
    ((1,), (3, 2), (2,), (0,), (5,)),
    ((1,), (3, 3), (2,), (0,), (4,)),  # once more
]


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(4)
    calibration, images = (torch.randint(256, (n, 1, 32, 32), dtype=torch.uint8, generator=generator) for n in (11, 20))
    labels = torch.randint(5, (20,), generator=generator)
    return Inputs(calibration, 4, images, labels, 8, (0.5,), (0.2,), torch.device("cpu"))


def plainly(supernet, path, inputs):
    child = supernet.extract(path)
    calibrate(child, inputs.calibration_batches())
    return measure(child, inputs)


@pytest.mark.numeric
def test_scores_are_those_of_each_path_alone(supernet, inputs):
    found = PathScorer(supernet, inputs).scores(PATHS)
    assert found[0] == found[4]
    assert len({each.prob for each in found}) == 4
    # The longest sum: the widest block's, its squeeze, norms over a batch's pixels, added over about six blocks.
    allowed = bound(6 * (7**2 + 6 * 192 + 2 * 4 * 16**2 + 1280), 100.0)
    for each, path in zip(found, PATHS, strict=True):
        assert each.prob == pytest.approx(plainly(supernet, path, inputs).prob, abs=allowed)
    assert allowed < min(abs(a.prob - b.prob) for a in found for b in found if a != b)


def test_what_paths_share_is_computed_once(supernet, inputs):
    runs = []
    for place in (supernet.stages[0][0][1], supernet.stages[4][0][5]):
        place.register_forward_hook(lambda module, *_: runs.append(module))
    PathScorer(supernet, inputs).scores(PATHS)
    batches = 3 + 3  # of calibration and of scoring
    first, last = supernet.stages[0][0][1], supernet.stages[4][0][5]
    assert (runs.count(first), runs.count(last)) == (batches, 2 * batches)


@pytest.mark.parametrize("training", [True, False])
def test_the_supernet_is_left_alone(supernet, inputs, training):
    supernet.train(training)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    momenta = [module.momentum for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    PathScorer(supernet, inputs).scores(PATHS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
    assert [module.momentum for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)] == momenta
    assert {module.training for module in supernet.modules()} == {training}


def test_without_calibration_images_nothing_is_scored(supernet, inputs):
    nothing = Inputs(inputs.calibration[:0], *list(vars(inputs).values())[1:])
    with pytest.raises(ValueError, match="at least one batch"):
        PathScorer(supernet, nothing).scores(PATHS)


def test_no_beginning_in_common():
    assert shared((), (1, 2)) == shared((0, 2), (1, 2)) == 0
    assert shared((1, 2), (1, 2)) == 2
