"""The page of `fit` has the numbers that were measured."""

from fewshot_nas.records.files import read_json
from studies.common import ROOT
from studies.fit_cifar10.run import RESULTS


def test_the_page_has_the_accuracies_and_the_gains():
    found = read_json(RESULTS)
    page = (ROOT / "docs" / "fit.md").read_text(encoding="utf-8").replace("\n", " ")
    assert len(found["top1"]) == 1, "the page speaks of one seed"
    top1 = {name: f"{value:.1f} %" for name, value in found["top1"]["0"].items()}
    assert f"had {top1['found']} of the test images right, a random one of the space {top1['random']}" in page
    for name in ("random", "reference"):
        gain = found["gains"][name]
        assert f"{gain['mean']:+.2f}" in page
        assert f"[{gain['low']:.2f}, {gain['high']:.2f}]" in page
