"""Intervals of the answer, against values that were computed otherwise."""

import numpy as np
import torch

from fewshot_nas.data.images import repeated_indices
from fewshot_nas.ranking.confidence import balanced, gain, top1


def test_wilson():
    """For 81 of 263, as in Newcombe 1998, table I."""
    value, low, high = top1(np.array([1.0] * 81 + [0.0] * 182))
    assert (round(value, 2), low, high) == (30.8, 25.53, 36.62)


def test_a_rare_class_counts_as_much_as_a_frequent_one():
    labels = np.array([0] * 90 + [1] * 10)
    right = np.array([1.0] * 90 + [0.0] * 10)
    value, low, high = balanced(right, labels)
    assert value == 50
    assert low < 50 < high
    assert gain(right, 1 - right, labels)[0] == 0
    assert gain(right, 1 - right, None)[0] == 80


def test_equal_networks_differ_by_nothing_and_that_is_not_sure():
    right = np.array([1.0, 0.0] * 20)
    value, low, high = gain(right, right, None)
    assert value == 0
    assert low == -high < 0


def test_repeated_images_make_classes_even():
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 20)
    assert labels[repeated_indices(labels, 1.0)].bincount().tolist() == [50, 50, 50]
    assert repeated_indices(labels, 0.0).tolist() == list(range(77))
