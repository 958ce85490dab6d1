"""A classifier of a subnet's own, from sums over images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from fewshot_nas.evaluation.classifier import SHRINKAGE, TEMPERED, ClassifierFit
from fewshot_nas.evaluation.engine import End, Walk
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


@pytest.mark.numeric
def test_it_is_the_linear_discriminant_of_scikit_learn_but_for_the_temperature(known):
    features, labels = (each.numpy() for each in known)
    # Shrunk to (1 - share) * covariance + share * variance, which is ours but for a factor.
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE / (1 + SHRINKAGE))
    theirs.fit(features.astype(np.float64), labels)
    flat = theirs.intercept_ - np.log(theirs.priors_)  # it knows how frequent the classes are; here all count alike
    weight, bias = (each.double().numpy() for each in fitted(*known))
    sharpness = np.vdot(weight, theirs.coef_) / np.vdot(theirs.coef_, theirs.coef_)
    # Both compute in float64, so the largest error is that of rounding the result to float32.
    assert weight == pytest.approx(sharpness * theirs.coef_, rel=1e-6, abs=1e-6)
    assert bias == pytest.approx(sharpness * flat, rel=1e-6, abs=1e-6)


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
def test_the_engine_fits_what_the_plain_way_fits(make_supernet, make_archs, fitting, monkeypatch):
    """Both give the same images' features to `ClassifierFit`, and each network gets the classifier of its features.

    Only features are compared, because rounding explains how far they may lie apart. A classifier is a function of
    them that may amplify the difference.
    """
    seen = {}
    add = ClassifierFit.add
    monkeypatch.setattr(
        ClassifierFit, "add", lambda self, *batch: seen.setdefault(self, []).append(batch) or add(self, *batch)
    )

    def given():
        """What each fit was given since the last call."""
        taken = [[torch.cat(each) for each in zip(*batches, strict=True)] for batches in seen.values()]
        seen.clear()
        return taken

    supernet, archs, made = make_supernet(2), make_archs(6), []
    for unit in Scorer(supernet, fitting).plan(archs).units:
        walk = Walk(supernet, unit, fitting)
        walk.calibrate()
        walk.fit()
        leaves = [node for node in walk.nodes if isinstance(node, End)]
        for node, (features, labels) in zip(leaves, given(), strict=True):
            arch = archs[unit.members[node.leaf.number][0]]
            subnet = extract(supernet, arch)
            calibrate(subnet, fitting.calibration_batches())
            fit(subnet, fitting, supernet.num_classes)
            ((plain, plain_labels),) = given()
            assert torch.equal(labels, plain_labels)
            length = terms(supernet.space, [arch], fitting.calibration[: fitting.calibration_batch])
            assert_equal_but_for_rounding(features, plain, length, "a feature")
            own = [*subnet.head.linear.parameters()]
            made += [((node.head.weight, node.head.bias), features, labels), (own, plain, labels)]
    monkeypatch.undo()
    for classifier, features, labels in made:
        assert len(labels) == 60
        for found, expected in zip(classifier, fitted(features, labels, fitting.batch, 10), strict=True):
            assert torch.equal(found, expected)


def test_scores_are_those_of_its_own_classifier(make_supernet, make_archs, inputs, fitting):
    """Fitted to the very images that are scored, it must do better than random weights."""
    supernet, archs = make_supernet(1), make_archs(4)
    assert fitting.count == inputs.count + 60
    for shared, own in zip(
        Scorer(supernet, inputs).scores(archs), Scorer(supernet, fitting).scores(archs), strict=True
    ):
        assert own.top1 > shared.top1 + 20
