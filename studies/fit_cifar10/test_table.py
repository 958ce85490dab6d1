"""The page of `fit` has the numbers that were measured."""

import numpy as np

from fewshot_nas.records.files import read_json
from studies.common import ROOT
from studies.fit_cifar10.run import RESULTS, SEEDS


def test_the_page_has_the_accuracies_and_the_gains():
    found = read_json(RESULTS)
    page = (ROOT / "docs" / "fit.md").read_text(encoding="utf-8").replace("\n", " ")
    assert set(found["top1"]) == set(map(str, SEEDS))
    top1 = {
        name: f"{np.mean([each[name] for each in found['top1'].values()]):.1f} %"
        for name in ("found", "random", "reference")
    }
    assert f"had {top1['found']} of the test images right, random ones {top1['random']}" in page
    assert f"ResNet-18s {top1['reference']}" in page
    for name in ("random", "reference"):
        gain = found["gains"][name]
        by_seed = ", ".join(f"{each:+.1f}" for each in gain["seeds"])
        assert f"{gain['mean']:+.2f} points [{gain['low']:.2f}, {gain['high']:.2f}] (by seed {by_seed})" in page
