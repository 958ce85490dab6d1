"""The notebook: kept with the outputs of a run, all of its names exist, and it runs."""

import ast
import importlib
import inspect
import re
import resource
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import load_config
from fewshot_nas.records.files import read_json

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "readme.ipynb"
COMMANDS = {"train": "train_supernet", "split": "train_few_shot", "score": "test"}
COMMANDS |= {name: name for name in ("search", "judge", "export")}


@pytest.fixture
def code_cells():
    return [cell for cell in read_json(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def code(code_cells):
    return "\n".join("".join(cell["source"]) for cell in code_cells).replace("%matplotlib inline", "")


def test_it_is_kept_with_the_outputs_of_one_run(code_cells):
    """From the first cell to the last, without errors, warnings or places of somebody's machine."""
    assert [cell["execution_count"] for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    said = "".join("".join(output.get("text", "")) for output in outputs)
    assert not re.search(r"(?<![\w.])/\w+/", said)
    assert re.search(r"Of two archs, the better one comes first in \d+ of 100 cases", said)
    assert re.search(r"multiply-adds, .* parameters, \d+\.\d+ % of the test images", said)


def test_all_of_its_names_exist(code):
    """Functions, methods, options of commands, and settings."""
    check(code)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("fewshot_nas.macs(", "fewshot_nas.flops("),
        ("import inherit", "import heir"),
        ("run.taus()", "run.tau()"),
        ("limit=20", "limits=20"),
        ("training.epochs=4", "training.epoch=4"),
    ],
)
def test_a_name_that_does_not_exist_is_noticed(code, right, wrong):
    assert right in code
    with pytest.raises((AssertionError, AttributeError, InputError)):
        check(code.replace(right, wrong))


def check(code):
    """Fail on the first name that there is not."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.ImportFrom(module=module, names=names):
                assert all(hasattr(importlib.import_module(module), name.name) for name in names)
            case ast.Attribute(value=ast.Name(id="fewshot_nas"), attr=name):
                assert getattr(fewshot_nas, name)
            case ast.Call(func=ast.Attribute(attr="Run"), args=[_, *settings]):
                load_config(None, [setting.value for setting in settings])
            case ast.Call(func=ast.Attribute(value=ast.Name(id="run"), attr=name), args=args, keywords=keywords):
                given = {keyword.arg: None for keyword in keywords}
                bound = inspect.signature(getattr(fewshot_nas.Run, name)).bind(None, *args, **given)
                for option in bound.arguments.get("options", {}):
                    module = importlib.import_module(f"fewshot_nas.{COMMANDS[name]}")
                    assert f"--{option}" in module._parser()._option_string_actions


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """In less than two minutes of one core, its start included."""
    import nbformat
    from nbclient import NotebookClient

    for name in ("json_file", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    shown = [output["data"] for output in outputs if output["output_type"] == "execute_result"]
    assert said.count("against json_file/digits/gt_arch30.json") == 2
    assert "True" in [each["text/plain"] for each in shown]
    assert "% of the test images" in said
    assert sum("image/png" in each for each in shown) == 2
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 120
