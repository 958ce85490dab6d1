"""The page that says in which order to read the code lists the files that are really passed through."""

from tests.script_module import load_script


def test_the_lists_are_those_of_the_code(capsys):
    assert load_script("reading_page").main(["--check"]) == 0, "python scripts/reading_page.py writes them"
