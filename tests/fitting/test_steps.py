"""The run of `fit`: mistakes that are said before the long work, the command lines, and what a kill may not change."""

import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
import torch
from PIL import Image

from fewshot_nas.cli.errors import BusyError, InputError
from fewshot_nas.config import load_config
from fewshot_nas.fit import main
from fewshot_nas.fitting import begin, decisions, plan
from fewshot_nas.fitting.asked import held
from fewshot_nas.fitting.plan import NETWORKS, RANKER, STEPS, without
from fewshot_nas.fitting.progress import Said
from fewshot_nas.fitting.state import Fit
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json, sha256, write_json
from fewshot_nas.results.run import ONE_SHOT, phase_directory, run_files
from fewshot_nas.running import images
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

SMALL = (
    "space.preset=px8",
    "space.base_widths=[4,6,10,20]",
    "data.train_images=64",
    "data.valid_images=20",
    "evaluation.calibration_images=16",
    "run.checkpoint_steps=1",
    "run.threads=1",
    "training.epochs=2",
    "stand_alone.epochs=3",
)
COMMAND = ("--save=mine", "--budget=3h", "--max=params=12k", *SMALL)


@pytest.fixture(scope="module")
def _planned(tmp_path_factory):
    place = tmp_path_factory.mktemp("fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*COMMAND, "--plan"]) == 0
    return place


@pytest.fixture
def planned(_planned, tmp_path, monkeypatch):
    """Where a plan was made, and nothing of it was done."""
    shutil.copytree(_planned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Fit("mine", None, read_json(tmp_path / "results" / "mine" / "fit.json"), time.monotonic())


def test_the_same_command_goes_on_with_the_same_plan(planned, capsys):
    before = dict(planned.state)
    main([*COMMAND, "--plan"])
    after, said = read_json(planned.files.fit), capsys.readouterr().out
    assert "(continued: 0 of 12 steps are done, " in said
    assert "(images under 64 px: their side; others: " in said
    assert after["plan"] == before["plan"]
    assert after["spent_s"] >= before["spent_s"]


def test_another_budget_is_planned_with_the_same_times(planned, capsys):
    """However busy the machine is now."""
    before = planned.state
    main(["--save=mine", "--budget=5h", *COMMAND[2:], "--plan"])
    after, said = read_json(planned.files.fit), capsys.readouterr().out
    assert (after["costs"], after["budget_s"]) == (before["costs"], 5 * 3600)
    assert "counts again: results/mine/fit/timings.json" in said
    assert "remove it to measure again)" in said
    planned.files.fit_timings.unlink()
    main([*COMMAND, "--plan"])
    assert read_json(planned.files.fit)["costs"] != before["costs"]


def test_what_the_last_step_needs_is_asked_for_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnx\w* is not installed"):
        main([*COMMAND])
    assert not any(tmp_path.iterdir())


def test_settings_that_were_given_count(planned):
    assert (planned.plan.epochs, planned.plan.supernet_epochs) == (3, 2)
    config = planned.config
    assert (config.stand_alone.epochs, config.training.epochs, config.data.train_images) == (3, 2, 64)
    assert config.space.build().base_widths == (4, 6, 10, 20)


def test_the_steps_are_command_lines(planned):
    planned.note(codes=dict.fromkeys(NETWORKS[1:], "1"), winner="found")
    write_json(planned.files.answer, {"networks": {"found": {"model": "a.pth"}}})
    lines = {name: planned.words(name) for name in STEPS if name != "answer"}
    for command, *words in lines.values():
        importlib.import_module(f"fewshot_nas.{command}")._parser().parse_intermixed_args(words)
    assert lines["search"][2:4] == ["--max=params=12k", "--budget=500"]
    assert lines["search"][-1] == "--by=ranker"
    assert lines["found"][-2:] == lines["random"][-2:] == ["--no_test", "stand_alone.epochs=3"]
    planned.state["plan"]["left_out"] = {"ranker": "no time"}
    assert planned.words("search")[-1] == "--by=supernet"


def test_a_run_that_was_begun_goes_on_as_it_was_begun(planned):
    planned.note(done=["pool"])
    with pytest.raises(InputError, match=r"mine was begun with --budget 3h \(now 2h\); give that again or more to go"):
        main(["--save=mine", "--budget=2h", *COMMAND[2:]])
    with pytest.raises(InputError, match=r"--max params=12k \(now macs=1M\); give the same again"):
        main(["--save=mine", "--budget=9h", "--max=macs=1M", *COMMAND[3:]])
    with pytest.raises(
        InputError, match=r"--seed none \(now 3\); give the same again to go on, or choose another --save"
    ):
        main([*COMMAND, "--seed=3"])


def test_a_supernet_that_has_learned_nothing_is_searched_only_where_there_is_time(planned):
    log, made = phase_directory("mine", ONE_SHOT).log, planned.plan
    planned.state["took_s"] = {"supernet": made.seconds["supernet"]}
    planned.state["costs"] |= {"wanted": 100, "fewest": 2, "step_s": 1.0}  # of no machine, so that 60 s are too short
    for top1, budget_s, left_out in ((30.0, 60, 0), (20.0, 60, 6), (20.0, 36_000, 1)):
        log.write_text(json.dumps({"epoch": 1, "top1": {"largest": top1, "smallest": 20.0}, "guessing": 23.4}) + "\n")
        planned.state["budget_s"] = budget_s
        assert len(decisions._if_learned(planned, made).left_out) == left_out
    planned.state.update(bounds=["params=1"], budget_s=60)
    assert decisions._if_learned(planned, made) == made


@pytest.mark.slow
def test_with_a_longer_budget_what_was_left_out_is_made(planned, capsys):
    """The same command but for its budget; what is trained stays, and all networks are compared anew."""
    short = without(planned.plan, ("scores", "merge", "ranker", "reference"), "no time")
    planned.note(plan=short.record() | {"sample": 0, "search": 20, "images": 20})
    main(COMMAND)
    before = read_json(planned.files.fit)
    trained = {path: path.read_bytes() for path in planned.files.path.glob("stand_alone/*/subnet.pth")}
    assert read_json(planned.files.answer)["networks"].keys() == {"found", "random"}
    longer = ["--save=mine", "--budget=4h", *COMMAND[2:]]
    capsys.readouterr()
    main([*longer, "--plan"])
    assert read_json(planned.files.fit) == before
    main(longer)
    said = capsys.readouterr().out
    assert "is 4.0 h now, not 3.0 h; no longer left out: ResNet-18, narrowed to about its cost, from scratch\n" in said
    assert "left out: scores of the pool, scores merged, the ranker (no time)\n" in said
    state, answer = read_json(planned.files.fit), read_json(planned.files.answer)
    assert answer["networks"].keys() == {"found", "reference", "random"}
    assert set(answer["left_out"]) == {"scores", "merge", "ranker"}
    assert {path: path.read_bytes() for path in trained} == trained
    assert (state["budget_s"], state["asked"]["--budget"]) == (4 * 3600, "4h")
    assert state["done"] == ["pool", "supernet", "search", "found", "random", "reference", "answer", "export", "report"]
    main(["--save=mine", "--budget=5h", *COMMAND[2:]])
    assert "that changes nothing, because all is done; to train longer, give another --save" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"with --budget 4h \(now 3h\); give that again or more to go on, or choose"):
        main(COMMAND)


def test_time_before_a_kill_counts(planned):
    """To the last line that the step has said."""
    planned.files.fit_log.parent.mkdir(parents=True, exist_ok=True)
    planned.files.fit_log.write_text("epoch 1\n")
    written = planned.files.fit.stat().st_mtime
    os.utime(planned.files.fit_log, (written + 500, written + 500))
    before = planned.state["spent_s"]
    main([*COMMAND, "--plan"])
    now = read_json(planned.files.fit)
    assert now["interrupted_s"] == pytest.approx(500, abs=0.1)
    assert before + 500 <= now["spent_s"] < before + 600


MISTAKES = {
    "--max=watts=3": "--max is 'watts=3', expected one of macs=VALUE, params=VALUE, latency=VALUE",
    "--budget=soon": "--budget is 'soon', expected a time such as 2h, 30min or 90s",
    "--data=nowhere": "nowhere: no such",
    "--data=empty": "empty: ",
    "--start=none.pth": "none.pth: no such file",
    "--seed=1": "nothing names the images; give --data DIR",
}
LATER = {
    "--max=params=10": "no network has params <= 10: params reaches from",
    "--budget=1s": "the budget of 1 s is too short for these images on this machine: the least is about",
}


@pytest.mark.parametrize("word", [*MISTAKES, *(pytest.param(each, marks=pytest.mark.slow) for each in LATER)])
def test_mistakes_are_said_before_the_long_work(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as refused:
        main([word, "--save=mine", *(SMALL if word in LATER else ())])
    assert (MISTAKES | LATER)[word] in str(refused.value)
    assert "\n" not in str(refused.value)
    kept = ["timings.json"] if word == "--budget=1s" else []  # for another budget
    assert [path.name for path in tmp_path.rglob("*.json")] == kept
    assert {each.name for each in tmp_path.iterdir()} == ({"empty", "results"} if kept else {"empty"})


def test_mistakes_are_said_before_torch_is_imported(tmp_path, monkeypatch):
    """And before the images are read; so does the lock of another process."""
    monkeypatch.chdir(tmp_path)
    words = [each for each in MISTAKES if each != "--data=empty"]
    script = "import sys; from fewshot_nas.fit import main; from fewshot_nas.cli.main import run;"
    script += "[run(main, [word]) for word in sys.argv[1:]]; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert done.stderr.count("error: ") == len(words)


def test_a_run_of_another_command_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(phase_directory("mine", ONE_SHOT).manifest, {})
    with pytest.raises(InputError, match=r"results/mine: holds manifest\.json, which fit has not made; choose another"):
        main([*COMMAND])


def test_a_full_disk_is_refused_before_the_plan(planned, monkeypatch):
    monkeypatch.setattr(begin.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(InputError, match=r"results/mine: its disk has 1 MB free, but fit will write about \d+ MB"):
        main(["--save=mine", "--budget=5h", *COMMAND[2:], "--plan"])


@pytest.mark.parametrize("part", ["val", "test"])
def test_images_that_cannot_be_decoded_are_refused_before_the_supernet(tmp_path, monkeypatch, part):
    """Where there are so many that the first look compares only their bytes."""
    for name in ("train", "val", "test"):
        image = tmp_path / f"{name}.png"
        Image.new("RGB", (9, 9)).save(image)
        (tmp_path / f"{name}.txt").write_text(f"{image} 0\n{image} 1\n")
    (tmp_path / f"{part}.png").write_bytes((tmp_path / "train.png").read_bytes()[:40])
    where = [f"data.root={tmp_path}", f"data.cache={tmp_path / 'cache'}"]
    config = load_config(None, ["data.name=parts", *where, "space.preset=cifar"])
    monkeypatch.setattr(images, "surveyed", lambda *args, **options: ((), ()))
    monkeypatch.setattr(decisions, "feasible_arch", lambda limits, options: None)
    limits = SimpleNamespace(space=config.space.build())
    with pytest.raises(InputError, match=rf"{part}\.png: cannot be decoded as an image"):
        decisions._refuse_at_last(SimpleNamespace(config=config, limits=lambda: limits))


def test_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with held(run_files("mine")), pytest.raises(BusyError, match=r"results/mine: another fit is at work on it; wait"):
        main([*COMMAND])


def _until_killed(place, name, delay_s, command=COMMAND):
    """Run the command until it has said that a step begins, and then for a moment; kill it as `kill -9` does.

    Nothing is done if an earlier moment has lasted to the end of the step.
    """
    if name in read_json(place / "results" / "mine" / "fit.json")["done"]:
        return
    said, child = place / f"said-{name}", os.fork()
    if not child:
        os.chdir(place)
        with said.open("w", buffering=1) as out, redirect_stdout(out), redirect_stderr(out):
            main(command)
        os._exit(0)
    while f"] {STEPS[name]} (about" not in (said.read_text() if said.exists() else ""):
        assert os.waitpid(child, os.WNOHANG)[0] == 0, said.read_text()
        time.sleep(0.01)
    time.sleep(delay_s)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _ended():
    """What may not depend on kills: found archs, scores, accuracies and weights. Latencies are measured, so they do."""
    run = Fit("mine", None, read_json(run_files("mine").fit), 0.0)
    assert set(run.state["done"]) == set(run.plan.seconds)
    assert sorted(each.suffix for each in run.files.answer.parent.glob("mine.*")) == [".json", ".onnx", ".pt2"]
    return [
        run.state["codes"],
        [(each["code"], each["score"]) for each in read_json(run.search.found)["archs"]],
        [(name, run.network(name).result.read_bytes()) for name in NETWORKS],
        [
            (name, key, tensor.tolist())
            for name in NETWORKS
            for key, tensor in torch.load(run.network(name).chosen)["model"].items()
        ],
        {name: {**row, "latency_us": 0} for name, row in read_json(run.files.answer)["networks"].items()},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.02, 0.5])
def test_killed_at_each_step_it_ends_as_if_it_had_not_been(planned, tmp_path, monkeypatch, capsys, delay_s):
    state = planned.state
    planned.note(plan=state["plan"] | {"sample": 20, "search": 20, "images": 20})
    found = {}
    for place in (tmp_path / "whole", tmp_path / "broken"):
        shutil.copytree("results", place / "results")
        monkeypatch.chdir(place)
        if place.name == "broken":
            for name in planned.plan.seconds:
                _until_killed(place, name, delay_s)
        main(COMMAND)
        found[place.name] = _ended()
        monkeypatch.chdir(tmp_path)
    assert found["whole"] == found["broken"]
    monkeypatch.chdir(place)
    answer = read_json(planned.files.answer)
    rows = planned.files.guesses.read_text().splitlines()
    assert rows[0].split(",") == ["image", "label", *NETWORKS]
    assert set(rows[1].split(",")[1:]) <= set(answer["classes"])
    capsys.readouterr()
    main(COMMAND)
    assert capsys.readouterr().out.splitlines() == [
        "loading torch ...",
        answer["sentence"],
        *(ANY, ANY, ANY),
        "python -m fewshot_nas.predict --model=results/mine/fit/mine.onnx IMAGES",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "killed"),
    [("supernet", ("supernet", "scores", "search", "reference", "export")), (None, ("reference", "answer", "export"))],
)
def test_killed_with_more_budget_it_ends_as_if_it_had_not_been(planned, tmp_path, monkeypatch, before, killed):
    """More than it had when it was killed in a step, or when all was done."""
    monkeypatch.setattr(plan, "_MOST_SCORED", 20)
    short = without(planned.plan, (*RANKER, "reference"), "no time")
    planned.note(plan=short.record() | {"sample": 0, "search": 20, "images": 20})
    if before:
        _until_killed(tmp_path, before, 0.1)
    else:
        main(COMMAND)
    longer, found = ["--save=mine", "--budget=4h", *COMMAND[2:]], {}
    for place in (tmp_path / "whole", tmp_path / "broken"):
        shutil.copytree("results", place / "results")
        monkeypatch.chdir(place)
        for name in killed if place.name == "broken" else ():
            _until_killed(place, name, 0.1, longer)
            with pytest.raises(InputError, match=r"with --budget 4h \(now 3h\); give that again or more to go on"):
                main(COMMAND)
        main(longer)
        found[place.name] = _ended()
        monkeypatch.chdir(tmp_path)
    assert found["whole"] == found["broken"]


@pytest.mark.slow
def test_all_networks_start_from_a_file(tmp_path, monkeypatch, capsys):
    """Its space is taken over, where none is given."""
    monkeypatch.chdir(tmp_path)
    space = replace(SPACES["px8"], name="px8 changed", base_widths=(4, 6, 10, 20))
    save_supernet(tmp_path / "first.pth", Supernet(by_width(space, 1), num_classes=10))
    command = ["--start=first.pth", *COMMAND[:3], *SMALL[2:]]
    main([*command, "--plan"])
    run = Fit("mine", None, read_json(tmp_path / "results" / "mine" / "fit.json"), time.monotonic())
    assert run.config.space.build() == space
    run.note(plan=run.state["plan"] | {"sample": 20, "search": 20})
    main(command)
    manifests = [run.files.path / "manifest.json", *(run.files.path / "stand_alone").glob("*/manifest.json")]
    assert [read_json(path)["start"]["sha256"] for path in manifests] == [sha256(tmp_path / "first.pth")] * 4
    assert "first.pth, a supernet of this space; the classifier of 10 classes is kept" in capsys.readouterr().out
    save_supernet(tmp_path / "split.pth", Supernet(by_width(space, 2), num_classes=10))
    with pytest.raises(InputError, match=r"split\.pth: a supernet with 2 groups, expected 1"):
        main(["--start=split.pth", "--save=other", *COMMAND[1:3], *SMALL[2:]])


# ---- What a person reads of the commands that a run gives -----------------------------------------------------------


def test_all_goes_to_the_log_and_warnings_and_now_and_then_a_pace_to_a_person():
    log, heard, now = io.StringIO(), [], [0.0]
    said = Said(log, heard.append, 400.0, clock=lambda: now[0])
    for second in range(0, 121, 10):
        now[0] = float(second)
        print(f"epoch {second}/120; loss 2.0; top-1 {second}.00 %; 80 images/s; about {120 - second} s left", file=said)
    said.write("warning: the mean top-1 is low")
    assert heard == [
        "      epoch 50/120; top-1 50.00 %; about 70 s left",
        "      epoch 100/120; top-1 100.00 %; about 20 s left",
    ]
    said.write(": nothing was learned\nwritten: a.pth\n")
    assert heard[2:] == ["      warning: the mean top-1 is low: nothing was learned"]
    assert log.getvalue().count("\n") == 15


def test_short_steps_are_quiet():
    heard = []
    said = Said(io.StringIO(), heard.append, 10.0, clock=lambda: 29.0 if heard is None else 0.0)
    print("step 1 of 2: about 3 s left", file=said)
    assert heard == []
