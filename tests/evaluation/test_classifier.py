"""A classifier of a subnet's own, from sums over images."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from fewshot_nas.evaluation.classifier import SHRINKAGE, TEMPERED, ClassifierFit
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.naive import calibrate, fit
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.subnet import extract
from tests.rounding import assert_equal_but_for_rounding, terms

CLASSES, WIDTH = 4, 6


@pytest.fixture
def known():
    """Features of 2,000 images, each class around its own mean, with a covariance that is not round."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (2_000,), generator=generator)
    means, mixing = torch.randn(CLASSES, WIDTH, generator=generator), torch.randn(WIDTH, WIDTH, generator=generator)
    return means[labels] + torch.randn(2_000, WIDTH, generator=generator) @ mixing, labels


def fitted(features, labels, batch=300, classes=CLASSES):
    made = ClassifierFit(classes)
    for x, y in zip(features.split(batch), labels.split(batch), strict=True):
        made.add(x, y)
    return made.classifier()


def test_it_is_the_discriminant_of_the_features_up_to_the_temperature(known):
    features, labels = known
    x = features.double()
    means = torch.stack([x[labels == each].mean(0) for each in range(CLASSES)])
    within = torch.cat([x[labels == each] - means[each] for each in range(CLASSES)])
    covariance = within.T @ within / len(x)
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(WIDTH)
    distances = torch.stack([((x - mean) @ torch.linalg.inv(covariance) * (x - mean)).sum(1) for mean in means], 1)
    weight, bias = fitted(features, labels)
    found = F.linear(features, weight, bias).log_softmax(1).double()
    # Minus half a squared distance, scaled, and for each image up to a constant.
    scale = float(found.std() / distances.std())
    expected = (-distances).log_softmax(1)
    ratio = (found[:, 0] - found[:, 1]) / (expected[:, 0] - expected[:, 1])
    assert ratio == pytest.approx(float(ratio.median()), rel=1e-3)
    assert scale > 0


def test_neither_batches_nor_their_order_matter_but_for_the_temperature(known):
    features, labels = known
    order = torch.arange(len(labels))
    order[TEMPERED:] = order[TEMPERED:].flip(0)
    one, other = fitted(features, labels, 2_000), fitted(features[order], labels[order], 7)
    for ours, theirs in zip(one, other, strict=True):
        assert_equal_but_for_rounding(ours, theirs, len(labels), "the classifier")


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_no_other_temperature_suits_the_first_images_better(known, factor):
    features, labels = known
    logits = F.linear(features, *fitted(features, labels))[:TEMPERED]
    best, other = (F.cross_entropy(each * logits, labels[:TEMPERED]) for each in (1, factor))
    assert best < other


def test_a_class_without_images_is_never_guessed(known):
    weight, bias = fitted(*known, classes=CLASSES + 1)
    probabilities = F.linear(known[0], weight, bias).softmax(1)
    assert (probabilities[:, -1] == 0).all()
    assert torch.isfinite(probabilities).all()


def test_features_that_never_change_are_no_trouble():
    weight, bias = fitted(torch.zeros(8, 3), torch.arange(8) % 2, classes=2)
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()


@pytest.fixture
def fitting(inputs):
    return replace(inputs, fitting=inputs.images[:60], fitting_labels=inputs.labels[:60])


@pytest.mark.numeric
def test_the_engine_fits_what_the_plain_way_fits(make_supernet, make_archs, fitting):
    supernet, archs = make_supernet(2), make_archs(6)
    for unit in Scorer(supernet, fitting).plan(archs).units:
        walk = Walk(supernet, unit, fitting)
        walk.calibrate()
        walk.fit()
        heads = {node.step.leaf: node.head for node in walk.nodes if node.head}
        for leaf, members in enumerate(unit.members):
            subnet = extract(supernet, archs[members[0]])
            calibrate(subnet, fitting.calibration_batches())
            fit(subnet, fitting, supernet.num_classes)
            width = subnet.head.in_features
            # The covariance's condition number is at most 1 + width / SHRINKAGE.
            length = terms(supernet.space, [archs[members[0]]], fitting.calibration[:32]) * (1 + width / SHRINKAGE)
            # Errors of matrix and right side add up; the temperature fitted to the solution has as much again.
            length *= 4**2
            for ours, plain in zip(heads[leaf], subnet.head.parameters(), strict=True):
                assert_equal_but_for_rounding(ours, plain.detach(), int(length), "the classifier")


def test_scores_are_those_of_its_own_classifier(make_supernet, make_archs, inputs, fitting):
    """Fitted to the very images that are scored, it must do better than random weights."""
    supernet, archs = make_supernet(1), make_archs(4)
    assert fitting.count == inputs.count + 60
    for shared, own in zip(
        Scorer(supernet, inputs).scores(archs), Scorer(supernet, fitting).scores(archs), strict=True
    ):
        assert own.top1 > shared.top1 + 20
