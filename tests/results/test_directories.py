"""The files of a phase, and who may name them."""

import re
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas.results.directories import PhaseDirectory


@pytest.mark.parametrize("tau", [0.5, -0.25, 1.0, -1.0, float("nan"), 1e-9, -1e-9])
def test_candidates_are_found_by_their_names(tmp_path, tau):
    directory = PhaseDirectory(tmp_path)
    directory.candidate(tau, 12).touch()
    for other in (directory.last, directory.chosen, tmp_path / "mine_0.pth"):
        other.touch()
    assert directory.candidates() == [directory.candidate(tau, 12)]
    assert re.fullmatch(r"(\d\.\d{4}|epoch)_12\.pth", directory.candidate(tau, 12).name)
    assert directory.candidate(tau, 12).name.startswith("epoch") == (not tau > 1e-4)


@pytest.mark.parametrize("name", ["0.81_17", "0.8_17", "0.8100_17", "0.8100_17.pth"])
def test_the_competition_s_short_names_find_a_checkpoint(tmp_path, name):
    directory = PhaseDirectory(tmp_path)
    for tau, epoch in ((0.81, 17), (0.81, 1), (0.82, 117), (float("nan"), 18)):
        directory.candidate(tau, epoch).touch()
    assert directory.model(name).name == "0.8100_17.pth"
    for other in ("0.82_17", "0.81_18", "0.81_2", "0.81"):
        assert not directory.model(other).exists()


def test_evaluations_are_found_by_their_epochs(tmp_path):
    directory = PhaseDirectory(tmp_path)
    for epoch in ("17_all_test", "4"):
        directory.scores(epoch).mkdir(parents=True)
    (directory.all_scores / "epoch5").touch()
    assert directory.evaluations() == {"17_all_test": directory.scores("17_all_test"), "4": directory.scores("4")}


@pytest.mark.parametrize("name", [r"json_results", r"_json\{", r"supernet\.pth\"", r"last\.pth\"", r"log\.jsonl\""])
def test_no_other_module_makes_names_under_results(name):
    """Code only: help texts and docstrings may tell where things lie."""
    package = Path(fewshot_nas.__file__).parent
    made = re.compile(rf'[/(=] *f?"[^" ]*{name}')
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    found = [
        path for path, text in sources.items() if made.search(re.sub(r"^ +(>>>|\.\.\.) .*$", "", text, flags=re.M))
    ]
    assert {path.parent.name for path in found} == {"results"}
