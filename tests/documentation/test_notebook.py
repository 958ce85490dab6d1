"""The notebook: kept without outputs, its commands understood, and it runs."""

import re
import resource
from pathlib import Path

import pytest

from fewshot_nas.files import read_json

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "readme.ipynb"


@pytest.fixture
def code_cells():
    return [cell for cell in read_json(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs(code_cells):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells)


def test_its_commands_are_understood(code_cells, calls):
    code = "\n".join("".join(cell["source"]) for cell in code_cells)
    lines = [line.replace("{phase}", "1") for line in re.findall(r'run\(f?"(.*)"\)', code)]
    shown = {command for line in lines for command, *_ in calls(f"python -m fewshot_nas.{line}")}
    assert shown == {"train_supernet", "train_few_shot", "test", "merge", "report"}


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
    assert sum("image/png" in each for each in shown) == 2
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 120
