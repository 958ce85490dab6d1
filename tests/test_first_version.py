"""What the first version wrote is read, goes on, and gives the same scores up to rounding.

The files come from commit 1b04b33, computed on an AMD EPYC with AVX-512: a one-shot and a two-group
supernet with their scores and merged files, a journal of one finished unit, an unfinished phase of
three groups, and a ground truth of twelve archs.
"""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from fewshot_nas import export, merge, test, train_few_shot, train_stand_alone
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.space.search_space import SPACES
from tests.rounding import bound, terms

PX8 = SPACES["px8"]

pytestmark = pytest.mark.numeric

FILES = Path(__file__).with_name("files_of_the_first_version.tar.xz")
FIRST = Path("results/first")
PHASES = {"1": FIRST, "2": FIRST / "2"}
SCORES = Path("json_results/epoch0_all_test")


@pytest.fixture(autouse=True)
def old_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with tarfile.open(FILES) as archive:
        archive.extractall(tmp_path, filter="data")


def read(path):
    return json.loads(path.read_text())


@pytest.mark.parametrize("phase", PHASES)
def test_its_scores_are_merged_to_the_same_file(phase):
    merged = PHASES[phase] / SCORES / "prob_json_final.json"
    before = merged.read_bytes()
    merged.unlink()
    assert merge.main(["--save", "first", "--stage", phase, "--epoch", "0_all_test", "--top", "prob"]) == 0
    assert merged.read_bytes() == before


def rounding_percent(phase, codes):
    """How far a mean probability may move: as far as logits of a magnitude of 10 do, for softmax does not amplify."""
    supernet = load_supernet(PHASES[phase] / "supernet.pth")
    archs = [PX8.decode(code) for code in codes]
    return 100 * bound(terms(supernet.space, archs, torch.empty(20, 1, 8, 8)), 10.0)


@pytest.mark.parametrize("phase", PHASES)
def test_its_supernets_have_the_same_scores(phase):
    directory = PHASES[phase] / SCORES
    expected = {part: read(directory / f"prob_json{part}.json") for part in (1, 2)}
    for path in directory.iterdir():
        path.unlink()
    options = ["--save", "first", "--split_group", phase, "--test_set=1", "--json_part=1-2", "--images=40"]
    assert test.main(options) == 0
    for part, scores in expected.items():
        allowed = rounding_percent(phase, [entry["arch"] for entry in scores.values()])
        found = read(directory / f"prob_json{part}.json")
        assert {key: entry["arch"] for key, entry in found.items()} == {k: e["arch"] for k, e in scores.items()}
        for arch_id, entry in found.items():
            assert abs(entry["acc"] - scores[arch_id]["acc"]) <= allowed


def test_a_finished_evaluation_is_finished():
    before = (FIRST / SCORES / "manifest1.json").read_bytes()
    test.main(["--save", "first", "--test_set=1", "--json_part=1-2", "--images=40"])
    assert (FIRST / SCORES / "manifest1.json").read_bytes() == before


def test_its_journal_is_gone_on_with(monkeypatch):
    monkeypatch.setitem(Scorer.__init__.__kwdefaults__, "unit_networks", 4)  # as when the journal was written
    directory = FIRST / "2/json_results/epoch0"
    (journal,) = directory.glob("journal_*")
    head, line = journal.read_text().splitlines()
    unit = json.loads(line)
    unit["correct"] = [[top1, top5, 0.125 * number] for number, (top1, top5, _) in enumerate(unit["correct"])]
    journal.write_text(f"{head}\n{json.dumps(unit)}\n")
    assert test.main(["--save", "first", "--split_group=2", "--json_part=1-2"]) == 0
    assert not journal.exists()
    scores = {part: [entry["acc"] for entry in read(directory / f"prob_json{part}.json").values()] for part in (1, 2)}
    noted = {100 * prob / 20 for _, _, prob in unit["correct"]}
    assert noted <= set(scores[1] + scores[2])
    for part, found in scores.items():  # that version noted no likelihood
        assert (directory / f"likelihood_json{part}.json").exists() == noted.isdisjoint(found)
    assert merge.main(["--save", "first", "--stage=2", "--epoch=0"]) == 0


def test_its_unfinished_phase_is_gone_on_with(capsys):
    settings = [f"--config={FIRST}/3_from_2/config.yml"]
    assert train_few_shot.main(["--save", "first", "--group_nums=3", *settings]) == 0
    assert "continuing results/first/3_from_2 at step 2 of 4" in capsys.readouterr().out
    assert (FIRST / "3_from_2/supernet.pth").exists()


def test_its_ground_truth_is_gone_on_with(capsys):
    settings = [f"--config={FIRST}/stand_alone/arch1_seed0/config.yml", "--save", "first", "--target_arch_num=1"]
    before = (FIRST / "gt_arch30.json").read_bytes()
    assert train_stand_alone.main(settings) == 0
    assert "arch1 with seed 0 is in results/first/gt_arch30.json already" in capsys.readouterr().out
    assert (FIRST / "gt_arch30.json").read_bytes() == before


def test_a_subnet_of_it_is_exported(tmp_path):
    pytest.importorskip("safetensors")
    code = read(Path("json_file/json8/part1.json"))["arch1"]["arch"]
    settings = [f"--config={FIRST}/2/config.yml", "--model", f"{FIRST}/2/supernet.pth"]
    assert export.main([*settings, "--arch", code, "--out", str(tmp_path / "subnet.safetensors")]) == 0
    assert (tmp_path / "subnet.safetensors").exists()
