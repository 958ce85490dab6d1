"""Troubleshooting quotes the code; the version stands in one place; every word is explained once."""

import re
from pathlib import Path

import yaml

from fewshot_nas.version import __version__

ROOT = Path(__file__).parents[2]


def rows(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]


def test_each_sentence_of_the_troubleshooting_is_in_the_code():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "fewshot_nas").rglob("*.py"))
    quoted = [row[0].strip("`") for row in rows("troubleshooting.md")]
    assert len(quoted) >= 20
    assert [words for words in quoted if words not in code] == []


def test_each_word_of_the_glossary_stands_once_and_in_order():
    words = [word for row in rows("glossary.md") for word in row[0].strip("*").split(", ")]
    firsts = [row[0] for row in rows("glossary.md")]
    assert firsts == sorted(firsts, key=str.lower)
    assert len(set(words)) == len(words)
    wanted = "arch code pool part phase stage group split truth score prediction proxy tau ceiling board path"
    assert set(wanted.split()) <= set(words)


def test_the_rooms_of_the_architecture_are_those_of_the_contract_in_its_order():
    (layers,) = re.findall(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    layer_of = {name: number for number, line in enumerate(layers.splitlines()) for name in re.findall(r"\w+", line)}
    listed = [re.findall(r"`(\w+)(?:/|\.py)`", row[0]) for row in rows("architecture.md") if row[0].startswith("`")]
    places = [layer_of[name] for names in listed for name in names if name in layer_of]
    assert places == sorted(places)
    rooms = {path.name for path in (ROOT / "fewshot_nas").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {name for names in listed for name in names}


def test_the_version_is_one():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    numbers = re.findall(r'^version = "', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert not numbers, "pyproject.toml takes it from fewshot_nas/version.py"


def test_a_report_of_a_defect_asks_for_the_command_and_the_machine():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert "command" in text
        assert "fewshot-nas doctor" in text
