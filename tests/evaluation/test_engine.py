"""The engine against the plain way: same guesses, same statistics, whatever is shared."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fewshot_nas.evaluation import engine
from fewshot_nas.evaluation.engine import End, Walk
from fewshot_nas.evaluation.inputs import Inputs, Sums, sums
from fewshot_nas.evaluation.naive import calibrate, measure, score_plainly
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.subnet import Subnet, extract
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from tests.kinds import SPLITS, few, named
from tests.rounding import (
    assert_equal_but_for_rounding,
    assert_score_is_plain_but_for_rounding,
    bound,
    plain_logits,
    terms,
)

PX8 = SPACES["px8"]


pytestmark = pytest.mark.numeric


def score(supernet, archs, inputs):
    return Scorer(supernet, inputs).scores(archs)


def assert_scores_are_plain(supernet, archs, inputs):
    for arch, found in zip(archs, score(supernet, archs, inputs), strict=True):
        assert_score_is_plain_but_for_rounding(found, supernet, arch, inputs)


@torch.no_grad()
def shared_logits(supernet, archs, inputs):
    """Logits of every scoring image for each arch, by the engine."""
    found = {}
    for unit in Scorer(supernet, inputs).plan(archs).units:
        walk = Walk(supernet, unit, inputs)
        walk.calibrate()
        parts = [[] for _ in unit.members]
        for images, _ in inputs.scoring_batches():
            for leaf, logits in walk.outputs(images):
                parts[leaf].append(logits)
        for members, logits in zip(unit.members, parts, strict=True):
            found |= dict.fromkeys(members, torch.cat(logits))
    return [found[index] for index in range(len(archs))]


@pytest.mark.parametrize("groups", [1, 3, 7])
def test_logits_are_those_of_the_plain_way(make_supernet, make_archs, inputs, groups):
    supernet, archs = make_supernet(groups), make_archs(12)
    for arch, ours in zip(archs, shared_logits(supernet, archs, inputs), strict=True):
        plain = plain_logits(supernet, arch, inputs)
        length = terms(supernet.space, [arch], inputs.calibration[: inputs.calibration_batch])
        assert_equal_but_for_rounding(ours, plain, length, "the logits")
        best = plain.topk(2).values
        clear = best[:, 0] - best[:, 1] > 2 * bound(length, float(plain.abs().max()))
        assert torch.equal(ours.argmax(1)[clear], plain.argmax(1)[clear])


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_logits_of_every_kind_of_space_and_split_are_those_of_the_plain_way(make_supernet, inputs, split):
    """A key without the group would merge the first blocks of a shallow and a deep stage."""
    space, supernet = split.space, make_supernet(split)
    archs = [random_arch(space, random.Random(seed), few(space)) for seed in range(10)]
    for arch, ours in zip(archs, shared_logits(supernet, archs, inputs), strict=True):
        plain = plain_logits(supernet, arch, inputs)
        length = terms(space, [arch], inputs.calibration[: inputs.calibration_batch])
        assert_equal_but_for_rounding(ours, plain, length, "the logits")


@pytest.mark.parametrize("groups", [1, 3, 7])
def test_statistics_are_those_of_the_plain_way(make_supernet, make_archs, inputs, groups):
    supernet, archs = make_supernet(groups), make_archs(12)
    for unit in Scorer(supernet, inputs).plan(archs).units:
        walk = Walk(supernet, unit, inputs)
        walk.calibrate()
        for leaf, branch in branches(walk):
            arch = archs[unit.members[leaf][0]]
            subnet = extract(supernet, arch)
            calibrate(subnet, inputs.calibration_batches())
            length = terms(supernet.space, [arch], inputs.calibration[: inputs.calibration_batch])
            for block, convs in zip(subnet.blocks, branch, strict=True):
                for layer, conv in zip((*block.main, *block.shortcut), convs, strict=True):
                    assert_close(layer.norm, conv, length)


def branches(walk):
    """Each network's convolutions, block by block."""
    branch, firsts, shortcuts = [], {}, {}
    for node in walk.nodes:
        if isinstance(node, End):
            yield node.leaf.number, branch[: node.leaf.level]
            continue
        level, block = node.step.level, node.step.block
        del branch[level:]
        firsts[level] = node.main[0] if node.first else firsts[level]
        shortcuts[level] = node.shortcut or (shortcuts[level] if block.shortcut else [])
        branch.append((firsts[level], *node.main[1:], *(shortcuts[level] if block.shortcut else [])))


def assert_close(norm, conv, length):
    channels = norm.num_features
    deviation = norm.running_var.sqrt()  # a channel's values lie this far around its mean, which may be near 0
    away = (conv.mean[:channels] - norm.running_mean).abs() / deviation
    assert float(away.max()) <= bound(length, 1.0)
    assert float((conv.var[:channels] / norm.running_var - 1).abs().max()) <= 2 * bound(length, 1.0)  # it is a square


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 3, 7])
@pytest.mark.parametrize("space", ["px8", "px28"])
def test_scores_of_many_archs_equal_the_plain_way(make_supernet, make_archs, inputs, groups, space):
    supernet, archs = make_supernet(groups, space), make_archs(210)
    assert_scores_are_plain(supernet, archs, inputs)


def test_scores_equal_the_plain_way_in_the_competitions_space(make_supernet):
    supernet = make_supernet(3, "track1")
    archs = [random_arch(supernet.space, random.Random(seed), supernet.space.pool_options) for seed in range(3)]
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (24, 3, 48, 48), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (12,), generator=generator)
    inputs = Inputs(pixels[:12], 6, pixels[12:], labels, 12, (0.5,) * 3, (0.3,) * 3, torch.device("cpu"))
    assert_scores_are_plain(supernet, archs, inputs)


def test_the_plain_way_is_what_its_logits_say(make_supernet, make_archs, inputs):
    supernet, archs = make_supernet(2), make_archs(2)
    for arch, found in zip(archs, score_plainly(supernet, archs, inputs), strict=True):
        assert_score_is_plain_but_for_rounding(found, supernet, arch, inputs)


def test_a_wrong_score_is_no_rounding(make_supernet, make_archs, inputs):
    """One image more that is right at the first guess, two within five, or 0.05 points of probability."""
    supernet, (arch,) = make_supernet(2), make_archs(1)
    (found,) = score(supernet, [arch], inputs)
    wrong = ({"top1": found.top1 + 1}, {"top5": found.top5 + 2}, {"prob": found.prob + 0.05})
    for changes in wrong:
        with pytest.raises(AssertionError):
            assert_score_is_plain_but_for_rounding(replace(found, **changes), supernet, arch, inputs)


def test_scores_are_in_the_order_of_the_archs_and_repeat_for_repeated_ones(make_supernet, make_archs, inputs):
    supernet, archs = make_supernet(2), make_archs(9)
    scores = score(supernet, archs, inputs)
    assert len(set(scores)) > 3
    assert score(supernet, archs[::-1] + archs, inputs) == scores[::-1] + scores


def test_bfloat16_ranks_like_float32(make_supernet, make_archs, inputs):
    from dataclasses import replace

    from scipy.stats import kendalltau

    supernet, archs = make_supernet(1), make_archs(16)
    rounded = shared_logits(supernet, archs, replace(inputs, precision="bf16"))
    exact = shared_logits(supernet, archs, inputs)
    confidence = [[float(logits.max(1).values.mean()) for logits in each] for each in (rounded, exact)]
    assert kendalltau(*confidence).statistic > 0.9


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("at_once", [1, 500, 1200])
def test_what_is_held_and_scored_together_changes_no_bit(
    make_supernet, make_archs, inputs, monkeypatch, precision, at_once
):
    """Each of 40 images alone has 10 logits; so one network at a time, two, and three."""
    supernet, archs, inputs = make_supernet(2), make_archs(11), replace(inputs, precision=precision)
    usual = score(supernet, archs, inputs)
    monkeypatch.setattr(engine, "AT_ONCE", at_once)
    assert score(supernet, archs, replace(inputs, holds_kernels=True, holds_images=True)) == usual


def test_a_batch_costs_a_convolution_its_operations_and_a_network_two_more(
    make_supernet, make_archs, inputs, monkeypatch
):
    """Convolutions, rectifiers, sums; and a mean and a classifier for each network."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from counting import operations

    supernet, archs = make_supernet(1), make_archs(24, stems=1)
    (unit,) = Scorer(supernet, inputs).plan(archs).units
    walk = Walk(supernet, unit, replace(inputs, holds_kernels=True))
    walk.calibrate()
    batch = next(inputs.scoring_batches())
    walk.score(*batch)  # folds
    again = operations(lambda: walk.score(*batch)).total()
    assert again <= 2 * len(walk.convs()) + len(unit.steps) + 2 * len(unit.members) + 12


@pytest.mark.parametrize("split", SPLITS, ids=named)
def test_fused_kernels_get_the_numbers_of_the_plain_ones(make_supernet, inputs, split, monkeypatch):
    """Here in the place of cuDNN's: every rectifier after a convolution without groups, with and without a sum."""
    space, supernet, called = split.space, make_supernet(split), []

    def relu(x, kernel, bias, *sizes):
        called.append("relu")
        return F.relu(F.conv2d(x, kernel, bias, *sizes))

    def add_relu(x, kernel, plus, factor, bias, *sizes):
        called.append("add")
        return F.relu(F.conv2d(x, kernel, bias, *sizes) + factor * plus)

    archs = [random_arch(space, random.Random(seed), few(space)) for seed in range(3)]
    expected = shared_logits(supernet, archs, inputs)
    monkeypatch.setattr(engine, "fused_on", lambda device, dtype: engine.Fused(relu, add_relu))
    found = shared_logits(supernet, archs, inputs)
    assert all(map(torch.equal, found, expected))
    blocks = [block for arch in archs for _, block in space.blocks(arch)]
    assert ("add" in called) == any(block.shortcut is not None and block.after == "relu" for block in blocks)
    ops = [op for block in blocks for op in block.main]
    assert ("relu" in called) == any(op.act == "relu" and op.groups == 1 for op in ops)


def test_no_batch_waits_for_the_device(make_supernet, make_archs, inputs, monkeypatch):
    """On `meta`, tensors have no values: whoever asks for one fails, but for the sums in the end."""
    monkeypatch.setattr(torch.Tensor, "tolist", lambda found: torch.zeros(found.shape).numpy().tolist())
    supernet, far = make_supernet(1).to("meta"), replace(inputs, device=torch.device("meta"))
    assert score(supernet, make_archs(3), far)[0].top1 == 0


def test_calibration_replaces_whatever_was_there(make_supernet, inputs):
    subnet = extract(make_supernet(1), random_arch(PX8, random.Random(0)))
    calibrate(subnet, inputs.calibration_batches())
    first = {name: value.clone() for name, value in subnet.state_dict().items()}
    subnet.train()
    subnet(torch.randn(4, 1, 8, 8))
    calibrate(subnet, inputs.calibration_batches())
    assert all(torch.equal(value, first[name]) for name, value in subnet.state_dict().items())
    assert not subnet.training


@pytest.mark.parametrize(("count", "sizes"), [(64, [32, 32]), (65, [32, 33]), (66, [32, 32, 2]), (31, [31])])
def test_an_incomplete_calibration_batch_weighs_by_its_images(make_supernet, inputs, count, sizes):
    """The mean over batches of the stem, which nothing comes before, is then the mean over all images."""
    supernet, arch = make_supernet(1), random_arch(PX8, random.Random(0))
    calibrated = replace(inputs, calibration=inputs.calibration[:count])
    assert [len(images) for images in calibrated.calibration_batches()] == sizes
    subnet = extract(supernet, arch)
    with torch.no_grad():
        images = torch.cat(list(calibrated.calibration_batches()))
        expected = subnet.blocks[0].main[0].conv(images).mean((0, 2, 3))
    calibrate(subnet, calibrated.calibration_batches())
    assert torch.allclose(subnet.blocks[0].main[0].norm.running_mean, expected, atol=1e-5)
    (unit,) = Scorer(supernet, calibrated).plan([arch]).units
    walk = Walk(supernet, unit, calibrated)
    walk.calibrate()
    assert torch.allclose(walk.nodes[0].main[0].mean, expected, atol=1e-5)
    if len(set(sizes)) == 1:  # as torch's own cumulative mean, to the bit
        usual = extract(supernet, arch)
        for norm in (module for module in usual.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.momentum = None
        for batch in calibrated.calibration_batches():
            usual(batch)
        assert all(torch.equal(value, usual.state_dict()[name]) for name, value in subnet.state_dict().items())


def test_calibration_needs_images(make_supernet, make_archs, inputs):
    empty = replace(inputs, calibration=inputs.calibration[:0])
    with pytest.raises(ValueError, match="at least one batch"):
        calibrate(Subnet(PX8, random_arch(PX8, random.Random(0)), 10), ())
    with pytest.raises(ValueError, match="at least one batch"):
        score(make_supernet(1), make_archs(1), empty)


def test_accuracy_counts_each_image_once(inputs):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.arange(10.0).expand(len(x), 10)

    measured = measure(Constant(), inputs)
    assert measured.top1 == pytest.approx(100 * float((inputs.labels == 9).float().mean()))
    assert measured.top5 == pytest.approx(100 * float((inputs.labels >= 5).float().mean()))


def test_guesses_of_few_classes_are_within_five():
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    *within, probability, log = sums(logits, labels).tolist()
    assert within == [2, 3]
    assert probability == pytest.approx((2 * math.e + 1) / (math.e + 2))
    assert math.exp(log) == pytest.approx(math.e**2 / (math.e + 2) ** 3)
    found = Sums(2, 3, 1, 3 * math.log(0.5)).accuracy(3)
    assert (found.top5, found.likelihood) == (100, pytest.approx(50))


def test_the_mean_probability_is_rounded_once():
    """Scores of a pool that one version began and another goes on with must not differ in their last bits."""
    logits = torch.randn(500, 1, 10, generator=torch.Generator().manual_seed(0))  # of 500 networks
    as_before = logits.double().softmax(-1)[..., 3]  # [networks, 1]
    assert torch.equal(sums(logits, torch.tensor([3]))[:, 2], as_before[:, 0])
