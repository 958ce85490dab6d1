"""A run from Python: the commands' results as values, and their sentences as errors."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fewshot_nas
from fewshot_nas import InputError, Run
from fewshot_nas.cli.names import COMMANDS
from fewshot_nas.reporting.gather import Table
from fewshot_nas.results.run import run_files
from fewshot_nas.space.pool import Entry, part_path, read_arch_file, write_arch_file
from fewshot_nas.space.presets import SPACES


@pytest.fixture
def scored(workshop, fresh_run):
    """A run with a supernet, a pool of 30 archs, and accuracies of all of them."""
    pool = read_arch_file(part_path(Path("json_file/json8"), 1), SPACES["px8"])
    truth = {name: Entry(50.0 + number, pool[name].arch) for number, name in enumerate(pool)}
    write_arch_file(run_files("run").ground_truth, SPACES["px8"], truth)


def test_no_name_is_shadowed_by_the_module_of_a_command():
    before = {name: getattr(fewshot_nas, name) for name in fewshot_nas.__all__}
    modules = [importlib.import_module(f"fewshot_nas.{name}") for name in ("api", "run", *COMMANDS)]
    assert {name: getattr(fewshot_nas, name) for name in fewshot_nas.__all__} == before
    assert not any(isinstance(value, ModuleType) for value in before.values())
    assert not {module.__name__.split(".")[1] for module in modules} & set(fewshot_nas.__all__)


@pytest.mark.numeric
@pytest.mark.usefixtures("scored")
def test_scores_are_those_of_the_function_and_have_the_costs_of_their_archs():
    run = Run("run", "training.epochs=7", progress=[].append)  # a setting that `test` and `merge` do not use
    table = run.score(epoch=0)
    assert run.scores() == table
    row, other = table[0], table[-1]
    codes = [row["code"], other["code"]]
    for one, accuracy in zip((row, other), fewshot_nas.score(run.supernet(), codes), strict=True):
        assert one["likelihood"] == pytest.approx(accuracy.likelihood, abs=1e-3)
        assert one["top1"] == pytest.approx(accuracy.top1, abs=1e-3)
    space = fewshot_nas.load_supernet(run.supernet()).space
    assert row["params"] == fewshot_nas.params(space, row["code"], num_classes=10)
    (phase, *counts) = run.taus()
    assert (phase["ranking"], [each["ranking"] for each in counts]) == ("phase 1", ["depth", "params", "macs"])
    (whole, equal, *_) = run.judge(f"digits={run_files('run').ground_truth}")
    assert (whole["networks"], equal["networks"]) == ("all", "of equal cost")
    assert whole["tau"] == pytest.approx(phase["tau"])


@pytest.mark.usefixtures("scored")
def test_a_plan_scores_nothing():
    said = []
    assert Run("run", progress=said.append).score(plan=True) == []
    assert "work unit" in said[-1]
    with pytest.raises(InputError, match=r"likelihood_json_final.json: no such file"):
        Run("run").scores()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.search(budgt=5), r"unrecognized arguments: --budgt=5; did you mean --budget\?"),
        (lambda run: run.search(max={"macs": "1"}), "macs"),
        (lambda run: run.search(minimize=["macs", "depth"]), "invalid choice: 'depth'"),
        (lambda run: run.train("training.epoch=1"), "training.epoch"),
        (lambda run: run.score(1, "training.epochs=1"), "'training.epochs=1': test uses no settings of training"),
        (lambda run: run.score(2), "`python -m fewshot_nas.train_few_shot --save=run --phase=2` trains it"),
        (lambda run: run.split(9), "expected 2..7"),
        (lambda run: run.rank(), "no phase has merged scores"),
        (lambda run: run.judge("digit", "scores.csv"), "digit"),
        (lambda run: run.export("1", "best.pt"), "'1'"),
        (lambda run: run.command("tain"), "'tain' is not a command"),
        (lambda run: run.plot("tree"), "figure 'tree' is not one of this run, expected ranking"),
        (lambda run: Run("../run").epochs(), "expected the name of a directory under results/"),
        (lambda run: Run("run", config="none.yml").train(), "none.yml"),
    ],
)
@pytest.mark.usefixtures("scored")
def test_what_is_wrong_is_said_as_by_the_commands(call, said):
    with pytest.raises(InputError, match=said):
        call(Run("run"))


def test_an_interrupted_call_goes_on(workshop, small, capsys):
    small = [*small, "training.epochs=2"]
    lines = []

    def stop(line):
        sys.stdout.write(f"{line}\n")  # its own words are no progress
        lines.append(line)
        if line.startswith("epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run("mine", *small, progress=stop).train()
    assert capsys.readouterr().out.splitlines() == lines
    assert [row["epoch"] for row in Run("mine").epochs()] == [0]  # on disk before it was said
    table = Run("mine", progress=lines.append).train()  # with the settings that the run was begun with
    assert [row["epoch"] for row in table] == [0, 1]
    assert any(line.startswith("continuing results/mine at step 2 of 4") for line in lines)
    assert {"phase", "tau", "loss_largest", "top1_smallest"} <= table[0].keys()


def test_a_table_is_a_frame_where_pandas_is_installed(monkeypatch):
    table = Table([{"code": "11", "likelihood": 40.0}, {"code": "12", "likelihood": 60.0}])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pandas is not installed; `pip install 'fewshot-nas\[figures\]'"):
        table.to_frame()
    monkeypatch.undo()
    pytest.importorskip("pandas")
    frame = table.to_frame()
    assert list(frame.columns) == ["code", "likelihood"]
    assert frame.likelihood.mean() == 50


@pytest.mark.slow
def test_a_run_from_the_first_training_to_the_last_figure(workshop, small):
    pytest.importorskip("matplotlib")
    run = Run("mine", *small, progress=[].append)
    truth = run.train_alone("1-24")
    assert [row["id"] for row in truth] == [f"arch{number}" for number in range(1, 25)]
    run.train()
    assert [row["phase"] for row in run.split(2)] == ["1", "2"]
    assert [row["phase"] for row in run.split(split_by="choice", slots="2 depth")][2:] == ["2-choice2depth_from_2"]
    scores = {phase: run.score(phase=phase) for phase in (1, 2)}
    assert [row["id"] for row in scores[1]] == [row["id"] for row in scores[2]]
    predicted = run.rank()
    assert {row["code"] for row in predicted} == {row["code"] for row in scores[1]}
    assert all(isinstance(value, float) for name, value in predicted[0].items() if name not in ("id", "code"))
    judged = run.judge(f"digits={run_files('mine').ground_truth}")
    assert len({row["ranking"] for row in judged}) == 2 + 3
    found = run.search(max={"macs": "1.2M"}, minimize=["params"], budget=8, population=4, images=20, phase=2)
    assert all(row["macs"] <= 1_200_000 for row in found)
    assert run.search(min={"macs": "0.1M"}, budget=4, population=4, images=20, phase=2)  # under a name of its own
    card = run.export(found[0]["code"], "best.pt2", phase=2, onnx=True, with_preprocessing=True)
    assert card["macs"] == found[0]["macs"]
    assert {path.name for path in workshop.glob("best.*")} == {"best.pt2", "best.onnx", "best.json"}
    for name in ("ranking", "truth", "tau", "cost_1", "cost_2"):
        assert run.plot(name).axes
    run.command("report")
    assert run_files("mine").report.exists()
