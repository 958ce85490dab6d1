"""The committed ground truths are of the committed pool."""

from pathlib import Path

import pytest

from fewshot_nas.space.pool import read_arch_file, read_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ROOT = Path(__file__).parents[2] / "json_file"


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("*/gt_arch30*.json")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_archs_are_the_pools_first_thirty(path):
    first = read_pool(ROOT / "json8", PX8)[0]
    truth = read_arch_file(path, PX8)
    assert list(truth) == [f"arch{number}" for number in range(1, 31)]
    assert {arch_id: entry.arch for arch_id, entry in truth.items()} == {arch_id: first[arch_id] for arch_id in truth}
    assert len({entry.acc for entry in truth.values()}) > 25
