"""Examples in docstrings and on the page about Python really run."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fewshot_nas
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(Path(ROOT, "fewshot_nas").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.fixture
def trained(workshop):
    """A directory where the run `digits` has left a supernet."""
    save_supernet(
        workshop / "results" / "digits" / "supernet.pth", Supernet(by_width(SPACES["px8"], 1), num_classes=10)
    )
    return workshop


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("trained")
def test_examples_in_docstrings_run(name):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted
    assert not outcome.failed


def test_every_public_function_has_an_example():
    functions = [name for name in fewshot_nas.__all__ if callable(getattr(fewshot_nas, name)) and name.islower()]
    assert functions
    assert [name for name in functions if ">>>" not in getattr(fewshot_nas, name).__doc__] == []


@pytest.mark.usefixtures("trained")
def test_the_page_about_python_runs(page, small, capsys):
    text = (ROOT / "docs" / "python.md").read_text()
    code = "".join(page(text).blocks("python"))
    assert '"training.epochs=4"' in code
    exec(code.replace('"training.epochs=4"', ", ".join(map(repr, small))), {})
    assert capsys.readouterr().out.count("likelihood of the labels") == 5
    assert [name for name in fewshot_nas.__all__ if f"`{name}" not in text] == []
    methods = [name for name in vars(fewshot_nas.Run) if not name.startswith("_")]
    assert [name for name in methods if f"`{name}(" not in text] == []


@pytest.mark.slow
@pytest.mark.usefixtures("workshop")
def test_the_readme_s_lines_of_python_run(page, small, capsys):
    (code,) = page((ROOT / "README.md").read_text()).blocks("python")
    for written, fast in {'"training.epochs=4"': ", ".join(map(repr, small)), "sample=100": "sample=20"}.items():
        assert written in code
        code = code.replace(written, fast)
    exec(code, {})
    assert re.search(r"^\d+ \d+\.\d+$", capsys.readouterr().out, re.MULTILINE)


def test_images_of_no_such_name_are_refused(trained):
    with pytest.raises(fewshot_nas.InputError, match="images is 'train', expected one of valid, test"):
        fewshot_nas.score("results/digits/supernet.pth", [fewshot_nas.random_arch("px8")], images="train")


@pytest.mark.parametrize("read", [fewshot_nas.SPACES["px8"].encode, lambda arch: arch])
def test_a_single_arch_is_no_list(trained, read):
    with pytest.raises(fewshot_nas.InputError, match=r"archs is the single arch .*, expected a list such as \[arch\]"):
        fewshot_nas.score("results/digits/supernet.pth", read(fewshot_nas.random_arch("px8")))


def test_names_are_imported_when_they_are_used():
    check = "import sys, fewshot_nas; fewshot_nas.random_arch('px8'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


def test_there_are_no_other_names():
    with pytest.raises(AttributeError, match="module 'fewshot_nas' has no attribute 'scorer'"):
        _ = fewshot_nas.scorer
    assert set(fewshot_nas.__all__) <= set(dir(fewshot_nas))


def test_bounds_that_no_arch_meets_are_refused():
    with pytest.raises(fewshot_nas.InputError, match="none of 10,000 random archs of px8 lies within the bounds"):
        fewshot_nas.random_arch("px8", max_params=1)
    with pytest.raises(fewshot_nas.InputError, match=r"space\.preset is 'px9', expected one of "):
        fewshot_nas.macs("px9", "1")


def test_a_space_of_your_own_is_named_as_in_the_settings(tmp_path, monkeypatch):
    made = "dataclasses.replace(SPACES['px8'], base_widths=(4, 8, 16, 32))"
    (tmp_path / "api_space.py").write_text(f"import dataclasses\nfrom fewshot_nas import SPACES\nSMALL = {made}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    arch = fewshot_nas.random_arch("api_space:SMALL", seed=1)
    assert fewshot_nas.params("api_space:SMALL", arch) < fewshot_nas.params("px8", arch)
