"""The latency command, and what its table is good for."""

import csv
import shutil
from pathlib import Path

import pytest

from fewshot_nas import latency, rank, search
from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.found import read_found
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.run import Phase, found_directory, phase_directory, run_files
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool, write_arch_file
from fewshot_nas.timing.measuring import show
from fewshot_nas.timing.table import read_table

TINY = ["--save=run", "--rounds=1"]


@pytest.fixture(scope="module")
def _table(_fresh_run, tmp_path_factory):
    """Where a table of the run `run` is."""
    place = tmp_path_factory.mktemp("table")
    shutil.copytree(_fresh_run, place, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fewshot_nas.timing.measuring.TURN_S", 0.0)
        patch.setattr("fewshot_nas.timing.measuring.LEAST_RUNS", 1)
        patch.chdir(place)
        latency.main(TINY)
    return place / "results" / "run" / "latency"


@pytest.fixture
def measured(fresh_run, _table):
    """The table of latencies of a run."""
    directory = fresh_run / "results" / "run" / "latency"
    shutil.copytree(_table, directory)
    return directory / "torch_cpu_threads1_batch1.json"


def test_a_table_says_what_was_measured_and_how_good_it_is(measured):
    table = read_table(measured)
    assert table.device["runtime"] == "torch"
    assert table.device["name"]
    assert table.num_classes == 10  # the run's
    assert table.validation["networks"] == 50
    assert len(table.validation["measured"]) == 50
    for row in table.validation["measured"]:
        predicted = table.measure.of(table.space, table.space.decode(row["code"]))
        assert predicted == pytest.approx(row["predicted_us"], abs=1e-3)
    assert all(timing.us > 0 for timing in table.parts.values())


def test_what_misses_the_aim_is_said(measured, capsys, monkeypatch):
    monkeypatch.setattr("fewshot_nas.timing.measuring.AIM_TAU", 2.0)
    show(read_table(measured), measured)
    said = capsys.readouterr().out
    assert "50 networks that nothing was fitted to: mean error" in said
    assert "this misses the aim of 5 % and a tau of 2.0: one round is little" in said
    monkeypatch.setattr("fewshot_nas.timing.measuring.AIM_TAU", -2.0)
    monkeypatch.setattr("fewshot_nas.timing.measuring.AIM_ERROR_PERCENT", 1e9)
    show(read_table(measured), measured)
    assert "misses the aim" not in capsys.readouterr().out


def test_a_search_is_bounded_by_latency(measured):
    table = read_table(measured)
    middle = sorted(row["predicted_us"] for row in table.validation["measured"])[25]
    bound = f"--max=latency={middle:.0f}us"
    search.main(["--save=run", "--budget=4", "--population=4", "--images=20", bound, "--name=fast"])
    found = read_found(found_directory("run", "fast").found)
    assert len(found.archs) == 4
    assert found.measures == ["latency"]
    assert all(arch.costs["latency"] <= round(middle) for arch in found.archs)
    assert found.manifest["latency"]["device"] == table.device
    with found_directory("run", "fast").front.open() as stream:
        assert next(csv.reader(stream))[-1] == "latency"
    with pytest.raises(InputError, match=r"no network has latency <= 1 us: latency reaches from .* [um]s to"):
        search.main(["--save=run", "--max=latency=1us"])
    with pytest.raises(InputError, match="measure it with --digits all"):
        search.main(["--save=run", "--digits=all", bound])
    shutil.copy(measured, measured.with_name("another.json"))
    with pytest.raises(InputError, match="name one with --latency"):
        search.main(["--save=run", bound])


@pytest.mark.parametrize(("depths", "judged"), [("[[1,2],[1,2],[1,2],[1,2]]", 10), ("[[1,1],[1,1],[1,1],[1,1]]", 0)])
def test_a_space_of_few_networks_has_a_table_too(tmp_path, monkeypatch, capsys, depths, judged):
    """Here 16 networks, of which 6 are fitted to, or one, which leaves none to judge by."""
    monkeypatch.setattr("fewshot_nas.timing.measuring.TURN_S", 0.0)
    monkeypatch.setattr("fewshot_nas.timing.measuring.LEAST_RUNS", 1)
    monkeypatch.chdir(tmp_path)
    space = ["space.ratios=[1.0]", "space.pool_digits=[1,1,1,1]", f"space.depths={depths}"]
    assert latency.main([*TINY, "--out=table.json", *space]) == 0
    table = read_table(Path("table.json"))
    assert table.validation["networks"] == judged
    assert table.validation["fitted_to"] == (6 if judged else 1)
    assert ("no network is left to judge the predictions by" in capsys.readouterr().out) == (not judged)


@pytest.mark.parametrize("fault", ["several", "digits", "space", "torn"])
def test_a_table_that_a_search_does_not_need_does_not_stop_it(measured, capsys, fault):
    if fault == "several":
        shutil.copy(measured, measured.with_name("another.json"))
    elif fault != "digits":
        measured.write_text("{" if fault == "torn" else measured.read_text().replace('"px8', '"other', 1))
    options = ["--save=run", "--budget=2", "--population=2", "--images=20", "--method=random", "--name=plain"]
    search.main([*options, *(["--digits=all"] if fault == "digits" else [])])
    assert "latencies are left out: " in capsys.readouterr().err
    assert all("latency" not in arch.costs for arch in read_found(found_directory("run", "plain").found).archs)


def test_a_table_of_another_number_of_classes_is_refused(measured):
    write_json(measured, {**read_json(measured), "num_classes": 1000})
    with pytest.raises(InputError, match=r"was measured for num_classes 1000 \(now 10\); measure one of this run"):
        search.main(["--save=run", "--max=latency=1s"])


@pytest.mark.parametrize("option", ["--threads=0", "--batch=0", "--rounds=0"])
def test_a_number_that_makes_no_sense_is_refused(fresh_run, option):
    with pytest.raises(InputError, match="is 0, expected at least 1"):
        latency.main(["--save=run", option])


def test_the_ranker_s_table_has_the_latency_of_every_arch(measured, capsys):
    """Beside the predictions, and as one more way to order archs without training."""
    table = read_table(measured)
    pool = make_pool(table.space, seed=0, size=60)
    write_arch_file(Path("pool/part1.json"), table.space, {key: Entry(0.0, arch) for key, arch in pool.items()})
    truth = {key: Entry(50 + place / 2, arch) for place, (key, arch) in enumerate(pool.items()) if place < 12}
    write_arch_file(Path("truth.json"), table.space, truth)
    scores = {key: Scored(50 + place / 2, table.space.encode(arch)) for place, (key, arch) in enumerate(pool.items())}
    directory = phase_directory("run", Phase.parse("1")).scores("0")
    write_merged(directory, LEADING, scores, {"space": table.space.values(), "num_classes": 10})
    rank.main(["--save=run", "run.pool=pool", "run.ground_truth=truth.json"])
    with run_files("run").prediction_table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["id"] for row in rows} == {*pool}
    for row in rows[:5]:
        arch = pool[row["id"]]
        assert table.space.decode(row["code"]) == arch
        assert float(row["latency_us"]) == pytest.approx(table.measure.of(table.space, arch), abs=0.06)
        assert int(row["macs"]) == table.space.cost(arch, num_classes=10).macs
    assert "latency " in capsys.readouterr().out
