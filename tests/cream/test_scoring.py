"""The commands of all spaces serve a Cream search: its supernet scores, ranks and is searched like any other."""

import json
import os
import shutil
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas import export, finetune, latency, merge, rank, report, test, train_few_shot, train_supernet
from fewshot_nas import search as search_within
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.cream import make_pool, search
from fewshot_nas.evaluation import executors
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.inputs import Sums
from fewshot_nas.evaluation.naive import calibrate, total
from fewshot_nas.models.checkpoint import load_supernet
from fewshot_nas.models.subnet import extract
from fewshot_nas.results.run import known_phases, search_directory
from fewshot_nas.scoring import evaluate
from fewshot_nas.space.pool import read_arch_file, write_arch_file

SPACE = ["SPACE.stem_width=8", "SPACE.widths=[8,8,16,16,24]", "SPACE.last_width=32", "SPACE.head_width=32"]
SPACE += ["SPACE.expansions=[2,3]", "DEPTHS=[1,2,1,1,1]"]  # strides that divide 16 pixels by 32, as published
SETTINGS = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=32", "data.valid_images=20", "EPOCHS=2", "SLICE=2"]
SETTINGS += ["CALIBRATION_IMAGES=16", "META_STA_EPOCH=1", "UPDATE_ITER=2", "POOL_SIZE=2", "SHARED_EPOCHS=1"]
SETTINGS += ["REVIEWS=1", "REVIEW_PATHS=3", "HELD_IMAGES=4", "run.pool=pool.json", "run.ground_truth=gt.json"]
PATHS, KNOWN = 140, 25  # of the pool, more than a work unit holds; of the ground truth


@pytest.fixture(scope="module")
def _searched(tmp_path_factory):
    """A search, a pool, and a ground truth that parameters order without fault."""
    place, before = tmp_path_factory.mktemp("searched"), Path.cwd()
    os.chdir(place)
    try:
        search.main(["--save=one", *SPACE, *SETTINGS])
        make_pool.main([f"--size={PATHS}", "--out=pool.json", *SPACE])
        space = load_supernet(search_directory("one").supernet).space
        pool = read_arch_file(Path("pool.json"), space)
        first = sorted(list(pool)[:KNOWN], key=lambda name: space.cost(pool[name].arch).params)
        truth = {name: pool[name]._replace(acc=50.0 + place) for place, name in enumerate(first)}
        write_arch_file(Path("gt.json"), space, truth)
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def here(_searched, tmp_path, monkeypatch):
    """A copy of it, where the commands run."""
    shutil.copytree(_searched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.glob("*.json")}


def score(*options):
    test.main(["--save=one", "--json_part=all", *options])


@pytest.mark.slow
def test_a_search_is_scored_ranked_searched_and_exported(here, capsys):
    supernet = load_supernet(search_directory("one").supernet)
    pool = read_arch_file(here / "pool.json", supernet.space)
    score()
    scores = here / "results/one/search/json_results/epoch1"
    assert list(json.loads((scores / "prob_json1.json").read_text())) == list(pool)
    merge.main(["--save=one"])
    rank.main(["--save=one", "--proxy=fewshot_nas.cream.flops:path_flops"])
    said = capsys.readouterr().out
    assert "run results/one; digits, 32 training, 20 ranking images, 10 classes; space cream changed" in said
    rows = {row["name"]: row for row in json.loads((here / "results/one/rank/ranking.json").read_text())["rows"]}
    assert rows["params"]["tau"]["value"] == 1
    assert {"macs", "raw", "smoothed", "combined", "fewshot_nas.cream.flops:path_flops"} <= rows.keys()
    latency.main(["--save=one", "--out=table.json", "--rounds=1"])
    search_within.main(["--save=one", "--max=macs=10M", "--budget=15"])
    code = supernet.space.encode(pool["arch1"].arch)
    finetune.main(["--save=one", f"--arch={code}", "finetune.epochs=1", "finetune.batch_size=16"])
    export.main(["--model=results/one/search/supernet.pth", f"--arch={code}", "--out=path.safetensors"])
    report.main(["--save=one"])
    page = (here / "results/one/report.html").read_text().partition('<script type="application/json"')[0]
    assert "The search found a path of" in page
    assert "Phase search ranks 25 archs with a tau of" in page
    for figure in ("board", "truth search", "cost search", "loss", "accuracy"):
        assert f'data-figure="{figure}"' in page
    train_few_shot.main(["--save=one", "--split_by=choice", "--slots=1 block 0", "few_shot.epochs=1"])
    (alone,) = fewshot_nas.score("results/one/choice1block0/supernet.pth", [code])
    assert 0 < alone.prob < 100
    assert run(search.main, ["--save=one", *SPACE, *SETTINGS]) == 0
    assert "path.json is there already" in capsys.readouterr().out


def test_scores_are_those_of_extracted_networks(here, monkeypatch, capsys):
    """With the images that the search calibrates and ranks with, whose batches are the settings' too."""
    supernet, found = load_supernet(search_directory("one").supernet), {}
    scorers = []
    real = evaluate.scorer_for
    monkeypatch.setattr(evaluate, "scorer_for", lambda *a, **b: (scorers.append(real(*a, **b)), scorers[-1])[1])
    score("--limit=3")
    (inputs,) = (scorer.inputs for scorer in scorers)
    assert (inputs.calibration_batch, len(inputs.calibration), len(inputs.images)) == (8, 16, 20)
    for name, entry in list(read_arch_file(here / "pool.json", supernet.space).items())[:3]:
        network = extract(supernet, entry.arch)
        calibrate(network, inputs.calibration_batches())
        found[name] = Sums(*total(network, inputs)).accuracy(20).prob
    path = here / "results/one/search/json_results/epoch1/prob_json1.json"
    entries = json.loads(path.read_text())
    assert {name: entry["acc"] for name, entry in entries.items()} == pytest.approx(found, rel=1e-4)
    capsys.readouterr()
    codes = [entry["arch"] for entry in entries.values()]
    test.main(["--save=one", f"--arch={','.join(codes[:2])}"])
    said = capsys.readouterr().out.splitlines()[-2:]
    assert [line.partition(": top-1")[0] for line in said] == codes[:2]


def test_a_killed_scoring_ends_in_the_bytes_of_an_unbroken_one(here, killed, kill_me):
    score()
    scores = here / "results/one/search/json_results"
    whole = contents(scores / "epoch1")
    shutil.rmtree(scores)

    def dies():
        class Dying(Walk):
            begun = 0

            def sums(self):
                Dying.begun += 1
                return kill_me() if Dying.begun == 2 else super().sums()

        executors.Walk = Dying  # in a process that does not survive it
        score()

    killed(dies)
    assert len((scores / "epoch1/journal_1.jsonl").read_text().splitlines()) == 2  # a head and a unit
    score()
    assert contents(scores / "epoch1") == whole


@pytest.mark.slow
@pytest.mark.dist
def test_two_ranks_write_the_scores_of_one(here, ranks):
    score()
    scores = here / "results/one/search/json_results"
    whole = contents(scores / "epoch1")
    shutil.rmtree(scores)
    ranks(2, score)
    assert contents(scores / "epoch1") == whole


@pytest.mark.ray
def test_a_search_is_scored_on_ray(here):
    pytest.importorskip("ray")
    score("--limit=4")
    scores = here / "results/one/search/json_results"
    whole = contents(scores / "epoch1")
    shutil.rmtree(scores)
    score("--limit=4", "--executor=ray", "--workers=1")
    assert contents(scores / "epoch1").keys() == whole.keys()
    assert contents(scores / "epoch1")["prob_json1.json"] == whole["prob_json1.json"]


@pytest.mark.parametrize(
    ("main", "options", "message"),
    [
        (test.main, ["space.kernels=[1,3,5]"], "was made with space.kernels"),
        (test.main, ["data.name=fashion_mnist", "data.root=."], "was made with data.name digits"),
        (test.main, ["--phase=2"], "2/supernet.pth: no such file"),
        (test.main, ["data.train_images=31"], "was made with data.train_images 32 (now 31)"),
        (test.main, ["run.pool=none.json"], "none.json: no part1.json, expected a pool"),
        (test.main, ["run.pool=px8.json"], "px8.json: arch1: code '155' is no path, expected lists of choices as in"),
        (merge.main, [], "`python -m fewshot_nas.test --save=one --phase=search --epoch=0` writes scores"),
    ],
)
def test_what_does_not_fit_the_search_is_one_sentence(here, capsys, main, options, message):
    (here / "px8.json").write_text('{"arch1": {"acc": 0, "arch": "155"}}')
    assert run(main, ["--save=one", *options]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_run_has_one_first_phase_and_one_space(here, capsys):
    """Beside a supernet that was trained before, the search is asked for by its name."""
    (here / "own.yml").write_text("space: {preset: px8}\ndata: {train_images: 32, valid_images: 20}\n")
    with pytest.raises(InputError, match=r"results/one/search was begun with space\.kind mbconv .* another --save"):
        train_supernet.main(["--save=one", "--config=own.yml"])
    search_directory("one").supernet.unlink()
    test.main(["--save=one", "--plan"])
    assert "140 archs, 140 distinct networks, 2 work units" in capsys.readouterr().out
    assert run(test.main, ["--save=one"]) == 2
    assert "no such file; `python -m fewshot_nas.cream.search --save=one` trains it" in capsys.readouterr().err
    (here / "results/one/supernet.pth").touch()
    assert [phase.name for phase in known_phases("one")] == ["1"]
    score("--phase=search", "--limit=1", "--model_name=last", "--epoch=1")
