"""Shards: what is in them, and what is no score."""

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json
from fewshot_nas.results.scores import Score, write_shards
from fewshot_nas.space.pool import make_pool
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

POOL = make_pool(PX8, seed=0, size=40)
CODE = PX8.encode(POOL["arch1"])


def score(arch_id, top1=1.0):
    return Score(arch_id, PX8.encode(POOL[arch_id]), top1, top1 + 30, top1 / 2, top1 / 4)


def test_a_part_has_a_file_for_each_metric(tmp_path):
    write_shards(tmp_path, 3, [score("arch2", 50.5), score("arch1", 60.25)])
    assert {path.name: read_json(path) for path in tmp_path.iterdir()} == {
        "top1_json3.json": {
            "arch2": {"acc": 50.5, "arch": PX8.encode(POOL["arch2"])},
            "arch1": {"acc": 60.25, "arch": CODE},
        },
        "top5_json3.json": {
            "arch2": {"acc": 80.5, "arch": PX8.encode(POOL["arch2"])},
            "arch1": {"acc": 90.25, "arch": CODE},
        },
        "prob_json3.json": {
            "arch2": {"acc": 25.25, "arch": PX8.encode(POOL["arch2"])},
            "arch1": {"acc": 30.125, "arch": CODE},
        },
        "likelihood_json3.json": {
            "arch2": {"acc": 12.625, "arch": PX8.encode(POOL["arch2"])},
            "arch1": {"acc": 15.0625, "arch": CODE},
        },
    }


def test_an_arch_scored_twice_is_a_defect(tmp_path):
    with pytest.raises(AssertionError, match="twice"):
        write_shards(tmp_path, 1, [score("arch1"), score("arch1")])


NAN = float("nan")


@pytest.mark.parametrize(
    ("top1", "top5", "prob", "likelihood"),
    [
        *[(-1, 5, 5, 5), (50, 101, 5, 5), (NAN, 50, 5, 5), (50, NAN, 5, 5), (60, 50, 5, 5)],
        *[(5, 5, -1, 5), (5, 5, 101, 5), (5, 5, NAN, 5), (5, 5, 5, -1), (5, 5, 5, 101), (5, 5, 5, NAN)],
    ],
)
def test_scores_are_percentages(top1, top5, prob, likelihood):
    with pytest.raises(
        InputError, match=f"top5 is {top5}, prob is {prob} and likelihood is {likelihood}, expected perc"
    ):
        Score("arch1", CODE, top1, top5, prob, likelihood)
