"""The committed ground truths are of the committed pool."""

from pathlib import Path

import pytest
from scipy.stats import kendalltau

from fewshot_nas.ranking.correlation import proxies
from fewshot_nas.space.pool import read_arch_file, read_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ROOT = Path(__file__).parents[2] / "json_file"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in ROOT.glob("*/gt_arch30*.json") if path.parent.name != "imagenet"),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_archs_are_the_pools_first_thirty(path):
    first = read_pool(ROOT / "json8", PX8)[0]
    truth = read_arch_file(path, PX8)
    assert list(truth) == [f"arch{number}" for number in range(1, 31)]
    assert {arch_id: entry.arch for arch_id, entry in truth.items()} == {arch_id: first[arch_id] for arch_id in truth}
    assert len({entry.acc for entry in truth.values()}) > 25


def test_the_published_truth_is_beside_the_pool():
    """Its archs are the authors', whose own ids would name others here; counting them gives the taus of the pages."""
    space = SPACES["track1"]
    truth = read_arch_file(ROOT / "imagenet" / "gt_arch30.json", space)
    archs = {arch_id: entry.arch for arch_id, entry in truth.items()}
    assert len(set(archs.values())) == 30
    assert set(archs.values()).isdisjoint(arch for part in read_pool(ROOT / "json8", space) for arch in part.values())
    accuracies = [entry.acc for entry in truth.values()]
    taus = {name: kendalltau(list(counts.values()), accuracies)[0] for name, counts in proxies(space, archs).items()}
    assert taus == pytest.approx({"depth": 0.638, "params": 0.614, "macs": 0.591}, abs=0.0005)
