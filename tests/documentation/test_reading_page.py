"""The page that says in which order to read the code lists the files that are really passed through."""

import re
from pathlib import Path

from tests.script_module import load_script

ROOT = Path(__file__).parents[2]


def test_the_lists_are_those_of_the_code(capsys):
    assert load_script("reading_page").main(["--check"]) == 0, "python scripts/reading_page.py writes them"


def test_a_reader_opens_few_files():
    text = (ROOT / "docs" / "reading.md").read_text()
    step, score = map(int, re.findall(r"^### .*: (\d+) files$", text, re.MULTILINE))
    assert step <= 12
    assert score <= 15
