"""The comparison of two versions notices what differs, and nothing else."""

import json
import re

import pytest
import torch

from tests.script_module import load_script

compare_versions = load_script("compare_versions")
WEIGHTS = {"stem": torch.tensor([1.0, -0.0]), "head": torch.ones(2, 3)}


@pytest.fixture
def written(tmp_path):
    """Writes what one version has made: a checkpoint, scores and a log."""

    def write(side, weights=WEIGHTS, prob=12.5, second=1.0):
        phase = tmp_path / side / "results" / "run"
        phase.mkdir(parents=True)
        torch.save({"model": weights, "space": {"preset": side}}, phase / "supernet.pth")
        (phase / "prob_json1.json").write_text(json.dumps({"arch1": {"acc": prob, "arch": "1"}}))
        (phase / "log.jsonl").write_text(json.dumps({"loss": 0.5, "time": {"s": second}}) + "\n")
        return tmp_path / side

    return write


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"weights": {**WEIGHTS, "stem": torch.tensor([1.0, 0.0])}}, r"supernet\.pth: 1 values\n +/stem: tensor \[2\]"),
        ({"weights": {**WEIGHTS, "head": torch.ones(3, 2)}}, r"/head: tensor \[2, 3\] and tensor \[3, 2\]"),
        ({"weights": {"stem": WEIGHTS["stem"]}}, r"/head: only in the base"),
        ({"prob": 12.500000000000002}, r"prob_json1\.json: 1 values\n +/arch1/acc: 12\.5 and 12\.500000000000002"),
    ],
)
def test_a_changed_bit_is_a_difference(written, capsys, here, said):
    assert not compare_versions.compare(written("base"), written("here", **here), 3)
    output = capsys.readouterr().out
    assert re.search(said, output), output
    assert "NOT EQUAL" in output


def test_names_of_tensors_and_times_are_no_difference(written, capsys):
    renamed = {"trunk": WEIGHTS["stem"], "classifier": WEIGHTS["head"]}
    assert compare_versions.compare(written("base"), written("here", weights=renamed, second=2.0), 3)
    assert "3 files" in capsys.readouterr().out


def test_a_missing_file_is_a_difference(written, capsys):
    base, here = written("base"), written("here")
    (here / "results" / "run" / "log.jsonl").unlink()
    assert not compare_versions.compare(base, here, 3)
    assert "only in the base" in capsys.readouterr().out
