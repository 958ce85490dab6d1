"""The notebook: kept with the outputs of a run, its commands understood, and it runs."""

import re
import resource
from pathlib import Path

import pytest

from fewshot_nas.records.files import read_json

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "readme.ipynb"
CODE = "1554322222322212322212323254542444000000004353730000"


@pytest.fixture
def code_cells():
    return [cell for cell in read_json(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_with_the_outputs_of_one_run(code_cells):
    """From the first cell to the last, without errors, warnings or places of somebody's machine."""
    assert [cell["execution_count"] for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    said = "".join("".join(output.get("text", "")) for output in outputs)
    assert "/home/" not in said
    assert "/root/" not in said
    assert re.search(r"Of two archs, the better one comes first in \d+ of 100 cases", said)
    assert re.search(r"multiply-adds, .* parameters, \d+\.\d+ % of the test images", said)


def test_its_commands_are_understood(code_cells, calls):
    code = "\n".join("".join(cell["source"]) for cell in code_cells)
    lines = [line.replace("{phase}", "1").replace("{best}", CODE) for line in re.findall(r'run\(f?"(.*)"\)', code)]
    shown = {command for line in lines for command, *_ in calls(f"python -m fewshot_nas.{line}")}
    assert shown == {"train_supernet", "train_few_shot", "test", "merge", "report", "export"}


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
