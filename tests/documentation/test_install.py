"""The page on the installation names every extra, with what it adds."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tests.script_module import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shown():
    """The sizes on the page, in MB, by extra."""
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    return {
        name: float(size.replace(",", "")) for name, size in re.findall(r"^\| `?(\w+)`? .* ([\d,]+) MB \|$", page, re.M)
    }


def test_every_extra_is_named(shown):
    assert list(shown) == ["none", *metadata("fewshot-nas").get_all("Provides-Extra")]


def test_sizes_are_about_those_of_what_is_installed_here(shown):
    """By releases they vary, and a torch without CUDA is smaller."""
    found = dict(load_script("extras").sizes())
    torch = "none"
    for name, size in found.items():
        assert size is None or name == torch or shown[name] / 2 < size < shown[name] * 2, name
    assert 1_000 < found[torch] < 2 * shown[torch]
