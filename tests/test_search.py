"""The search command, from a trained supernet to a front."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from fewshot_nas import load_supernet, random_arch, report, score, search
from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation.scorer import Scorer
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.records.journal import append
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.found import read_found
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.run import Phase, found_directory, phase_directory, run_files
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool, write_arch_file
from fewshot_nas.space.presets import SPACES, with_values

SPACE = with_values(SPACES["px8"], {"base_widths": (4, 6, 10, 20)})
QUICK = ["--save=run", "--population=6", "--images=20"]


def found(name):
    return read_found(found_directory("run", name).found)


def test_a_search_ends_with_a_front_within_the_bounds(fresh_run, capsys):
    assert search.main([*QUICK, "--max=macs=300k", "--max=params=20k", "--budget=15"]) == 0
    outcome = found("1_macs300k_params20k")
    assert len(outcome.archs) == len({arch.code for arch in outcome.archs}) == 15
    for arch in outcome.archs:
        cost = SPACE.cost(SPACE.decode(arch.code), num_classes=10)
        assert arch.costs == {"macs": cost.macs, "params": cost.params}
        assert cost.macs <= 300_000
        assert cost.params <= 20_000
    assert outcome.measures == ["macs", "params"]
    assert outcome.archs[0].score == max(arch.score for arch in outcome.archs)
    with found_directory("run", "1_macs300k_params20k").front.open() as stream:
        assert [row["code"] for row in csv.DictReader(stream)] == [arch.code for arch in outcome.front]
    printed = capsys.readouterr().out
    assert "15 of 15 archs, best" in printed
    assert re.search(r"^6 of 15 archs, best .*; about \d+ s left$", printed, re.MULTILINE)
    assert f"  {outcome.front[0].code}  likelihood {outcome.front[0].score:.2f} %, macs" in printed


def test_a_found_arch_scores_what_test_says(fresh_run):
    from fewshot_nas.api import score

    search.main([*QUICK, "--max=macs=300k", "--budget=4"])
    best = found("1_macs300k").archs[0]
    (accuracy,) = score("results/run/supernet.pth", [best.code])
    assert best.score == pytest.approx(accuracy.likelihood, abs=1e-3)


def test_a_loaded_supernet_knows_the_settings_of_its_run(fresh_run):
    supernet = load_supernet("results/run/supernet.pth")
    code = SPACE.encode(random_arch(SPACE, seed=3))
    assert score(supernet, [code]) == score("results/run/supernet.pth", [code])


def test_without_its_settings_a_run_asks_for_them(fresh_run):
    directory = PhaseDirectory(fresh_run / "results" / "run")
    write_json(directory.manifest, {**read_json(directory.manifest), "data": {"name": "cifar10", "num_classes": 10}})
    directory.config.unlink()
    (directory.scores("1")).mkdir(parents=True)
    for command in (search, report):
        with pytest.raises(InputError, match=r"run/config\.yml: no such file, so give the run's settings"):
            command.main(["--save=run"])


def test_a_search_that_was_stopped_goes_on_to_the_same_front(fresh_run, monkeypatch):
    arguments = [*QUICK, "--max=macs=300k", "--budget=16"]
    search.main([*arguments, "--name=whole"])
    scored = []

    def stopping(self, archs):
        if len(scored) == 2:
            raise KeyboardInterrupt
        scored.append(archs)
        return before(self, archs)

    before = Scorer.scores
    monkeypatch.setattr(Scorer, "scores", stopping)
    with pytest.raises(KeyboardInterrupt):
        search.main([*arguments, "--name=torn"])
    with found_directory("run", "torn").journal.open("ab") as stream:
        stream.write(b'{"scores": {"1')  # as a crash leaves it
    monkeypatch.setattr(Scorer, "scores", before)
    search.main([*arguments, "--name=torn"])
    assert found_directory("run", "torn").found.read_bytes() == found_directory("run", "whole").found.read_bytes()
    assert found_directory("run", "torn").front.read_bytes() == found_directory("run", "whole").front.read_bytes()


def test_a_supernet_from_elsewhere_needs_no_manifest(fresh_run):
    phase_directory("run", Phase.parse("1")).manifest.unlink()
    assert search.main([*QUICK, "--max=macs=300k", "--budget=4"]) == 0
    assert len(found("1_macs300k").archs) == 4


@pytest.mark.dist
def test_two_processes_find_what_one_does(fresh_run, ranks):
    arguments = [*QUICK, "--max=macs=300k", "--budget=14"]
    search.main([*arguments, "--name=one"])
    assert ranks(2, lambda: search.main([*arguments, "--name=two"])) == [0, 0]
    assert found("two").archs == found("one").archs


def test_a_larger_budget_goes_on(fresh_run, monkeypatch):
    search.main([*QUICK, "--budget=6"])
    first = {arch.code for arch in found("1").archs}
    before, scored = Scorer.scores, []

    def counting(self, archs):
        scored.extend(archs)
        return before(self, archs)

    monkeypatch.setattr(Scorer, "scores", counting)
    search.main([*QUICK, "--budget=12"])
    assert len(scored) == 6
    assert first < {arch.code for arch in found("1").archs}


def test_bounds_with_few_archs_end_a_search_early_and_it_says_so(fresh_run, capsys):
    low = SPACE.cost(SPACE.extreme(SPACE.pool_options, largest=False), num_classes=10).macs
    assert search.main([*QUICK, f"--max=macs={low}", "--budget=15", "--name=few"]) == 0
    assert len({tuple(SPACE.blocks(SPACE.decode(arch.code))) for arch in found("few").archs}) == 1  # under 8 codes
    said = capsys.readouterr().out
    assert f"the search ends with 8 of 15 archs, because no others were found within macs <= {low / 1000:g} k" in said


def test_random_search_is_another_search(fresh_run):
    search.main([*QUICK, "--max=macs=300k", "--budget=8", "--method=random"])
    search.main([*QUICK, "--max=macs=300k", "--budget=8"])
    drawn, evolved = found("1_macs300k_random"), found("1_macs300k")
    assert len(drawn.archs) == len(evolved.archs) == 8
    assert len({arch.code for arch in (*drawn.archs, *evolved.archs)}) == 10  # the first generation is the same


def test_the_pool_s_scores_stand_beside_the_front(fresh_run):
    search.main([*QUICK, "--budget=4"])
    assert found("1").pool == []
    directory = phase_directory("run", Phase.parse("1"))
    pool = make_pool(SPACE, seed=0, size=30)
    scores = {key: Scored(float(place), SPACE.encode(arch)) for place, (key, arch) in enumerate(pool.items())}
    manifest = {"checkpoint_sha256": read_json(found_directory("run", "1").found)["checkpoint_sha256"]}
    write_merged(directory.scores("1"), LEADING, scores, manifest)
    write_merged(directory.scores("2"), LEADING, scores, {"checkpoint_sha256": "of another supernet"})
    search.main([*QUICK, "--budget=4"])
    assert found("1").pool[0].code == SPACE.encode(pool["arch30"])


def test_the_ranker_values_archs_if_there_is_one(fresh_run):
    search.main([*QUICK, "--budget=4"])
    directory = phase_directory("run", Phase.parse("1"))
    pool = make_pool(SPACE, seed=0, size=40)
    costs = {key: SPACE.cost(arch, num_classes=10).params for key, arch in pool.items()}
    scores = {key: Scored(10 + cost / 5000, SPACE.encode(pool[key])) for key, cost in costs.items()}
    manifest = {"checkpoint_sha256": read_json(found_directory("run", "1").found)["checkpoint_sha256"]}
    write_merged(directory.scores("1"), LEADING, scores, {**manifest, "num_classes": 10, "space": SPACE.values()})
    truth = {key: Entry(50 + cost / 3000, pool[key]) for key, cost in list(costs.items())[:20]}
    write_merged(directory.scores("1"), "prob", scores, {**manifest, "num_classes": 10, "space": SPACE.values()})
    write_json(run_files("run").ranking, {"metric": "prob", "scores": [str(directory.scores("1"))], "truth": None})
    search.main([*QUICK, "--budget=4", "--name=as_the_ranker"])
    assert found("as_the_ranker").manifest["metric"] == "prob"
    for known in (None, "truth.json"):
        write_arch_file(fresh_run / "truth.json", SPACE, truth)
        ranking = {"metric": LEADING, "scores": [str(directory.scores("1"))], "truth": known}
        write_json(run_files("run").ranking, ranking)
        name = f"by_{known}"
        search.main([*QUICK, "--budget=12", f"--name={name}"])
        assert found(name).manifest["by"] == "ranker"
        assert found(name).manifest["ranker"]["truths"] == (20 if known else 0)
        assert len(found(name).pool) > 0
    assert all(40 < arch.score < 80 for arch in found("by_truth.json").archs)  # predictions of the truth, not scores
    for place, arch in enumerate(pool.values()):  # the more at the pool's end, the better, say untrained networks
        append(run_files("run").untrained, {"code": SPACE.encode(arch), "naswot": float(place)})
    write_json(run_files("run").ranking, {**ranking, "truth": None, "untrained": 40})
    search.main([*QUICK, "--budget=12", "--name=untrained"])
    assert found("untrained").manifest["ranker"]["untrained"] == 40
    of_pool = {arch.code: arch.score for arch in found("untrained").pool}
    assert of_pool != {arch.code: arch.score for arch in found("by_None").pool}
    search.main([*QUICK, "--budget=4", "--by=supernet", "--name=plain"])
    assert found("plain").manifest["by"] == "supernet"
    write_merged(directory.scores("1"), LEADING, scores, {"checkpoint_sha256": "of another supernet"})
    with pytest.raises(InputError, match="none of which is of this supernet"):
        search.main([*QUICK, "--budget=4", "--name=other"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max=macs=1k"], r"no network has macs <= 1 k: macs reaches from .* to"),
        (["--max=macs=300k", "--min=params=100M"], "no network has params >= 100 M"),
        (["--max=latency=1ms"], r"there is no table of latencies of"),
        (["--name=../away"], "--name is '../away'"),
        (["--images=0"], r"--images is 0, expected 1\.\."),
        (["--save=none"], r"results/none/supernet\.pth: no such file; .* trains a supernet to search"),
        (["--by=ranker"], r"ranking\.json: no such file"),
    ],
)
def test_a_wrong_wish_is_refused(fresh_run, arguments, message):
    with pytest.raises(InputError, match=message):
        search.main([*QUICK, "--budget=4", *arguments])
    assert not (fresh_run / "results" / "run" / "searches").exists() or "--by=ranker" in arguments


def test_another_search_of_the_same_name_is_refused(fresh_run):
    search.main([*QUICK, "--budget=4", "--name=mine"])
    with pytest.raises(InputError, match="results/run/searches/mine was begun with bounds "):
        search.main([*QUICK, "--budget=4", "--name=mine", "--max=macs=300k"])


def test_a_refusal_needs_no_network():
    """Bounds are checked before torch is imported, so that it takes a moment only."""
    script = "import sys, fewshot_nas.searching.request; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.slow
def test_a_search_that_is_killed_twenty_times_ends_with_the_same_front(fresh_run):
    """Killed at random moments, the later the longer it lives, until one comes to its end."""
    command = [sys.executable, "-m", "fewshot_nas.search", *QUICK, "--max=macs=300k", "--budget=60"]
    subprocess.run([*command, "--name=whole"], check=True)
    journal = found_directory("run", "killed").journal
    kills, progress = 0, 0
    for attempt in range(200):
        process = subprocess.Popen([*command, "--name=killed"])
        # From the start of the process to just after the generation that comes next.
        lives = attempt % 4
        while process.poll() is None and lives:
            time.sleep(0.01)
            lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
            lives -= lines > progress
            progress = max(progress, lines)
        if kills < 20 and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert kills == 20
    assert found_directory("run", "killed").found.read_bytes() == found_directory("run", "whole").found.read_bytes()
