"""The page of all settings is what the code says."""

import dataclasses
from typing import get_type_hints

import pytest

from fewshot_nas.config import Config
from tests.script_module import load_script


@pytest.fixture
def script():
    return load_script("settings_page")


def test_the_page_is_what_the_code_says(script):
    assert script.main(["--check"]) == 0, "python scripts/settings_page.py writes it"


def test_a_page_that_is_out_of_date_is_noticed(script, tmp_path, capsys):
    script.ROOT = tmp_path
    changes = (("docs/settings.md", "| `0.1` |", "| `0.2` |"), ("configs/digits.yml", "lr: 0.1", "lr: 1"))
    for path, *_ in changes:
        (tmp_path / path).parent.mkdir()
    script.main([])
    for path, one, other in changes:
        (tmp_path / path).write_text((tmp_path / path).read_text().replace(one, other, 1))
        assert script.main(["--check"]) == 1
        assert capsys.readouterr().err.startswith(f"{path}: is not what the code says")
        script.main([])


def test_every_setting_is_there_with_its_meaning(script):
    rows = [line for line in script.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert all(row.count(" | ") >= 3 and not row.endswith("|  |") for row in rows)
    epochs = next(row for row in rows if "`few_shot.epochs`" in row)
    assert epochs == "| `few_shot.epochs` | integer >= 1 | `2` | Passes over the training images. |"
    assert "| `training.momentum` | number < 1 | `0.9` | Momentum of the gradient descent. |" in rows


def test_a_setting_that_is_alike_in_two_sections_is_explained_once(script):
    text = script.page()
    assert "| `few_shot.momentum`" not in text
    alike = next(line for line in text.splitlines() if line.startswith("As in `training`") and "`few_shot." in line)
    assert "`few_shot.momentum`" in alike
    for name, kind in get_type_hints(Config).items():
        assert [f.name for f in dataclasses.fields(kind) if f"`{name}.{f.name}`" not in text] == []
