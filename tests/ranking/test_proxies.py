"""The proxies that a supernet has to beat."""

import os
from pathlib import Path

import pytest

from fewshot_nas.ranking.correlation import agreement, proxies
from fewshot_nas.space.pool import make_pool, read_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]


def test_proxies_are_blocks_params_and_macs():
    pool = make_pool(PX8, seed=0, size=3)
    scores = proxies(PX8, pool, resolution=16, num_classes=10)
    for arch_id, arch in pool.items():
        cost = PX8.cost(arch, resolution=16, num_classes=10)
        found = {name: values[arch_id] for name, values in scores.items()}
        assert found == {"depth": PX8.depth(arch), "params": cost.params, "macs": cost.macs}


@pytest.mark.golden
@pytest.mark.skipif("FEWSHOT_NAS_TRACK1" not in os.environ, reason="FEWSHOT_NAS_TRACK1 is not set")
@pytest.mark.parametrize(
    ("proxy", "statistic", "value"),
    [
        ("depth", "kendall", 0.638),
        ("depth", "pearson", 0.831),
        ("params", "kendall", 0.614),
        ("macs", "kendall", 0.591),
    ],
)
def test_published_ground_truth_is_ranked_as_known(proxy, statistic, value):
    truth = read_arch_file(Path(os.environ["FEWSHOT_NAS_TRACK1"]) / "gt_arch30.json", PX8)
    scores = proxies(SPACES["track1"], {arch_id: entry.arch for arch_id, entry in truth.items()})[proxy]
    result = agreement(scores, {arch_id: entry.acc for arch_id, entry in truth.items()})
    assert round(getattr(result, statistic).value, 3) == value
