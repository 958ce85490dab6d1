"""The ranker's table, read and shown."""

import dataclasses

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import write_json
from fewshot_nas.reporting.ranked import read_ranked
from fewshot_nas.reporting.sections import sections

INTERVAL = {"value": 0.7, "low": 0.6, "high": 0.8, "error": 0.05}
CONTENT = {
    "scores": ["results/<run>/json_results/epoch0"],
    "archs": 45000,
    "scored": 2000,
    "truths": 200,
    "predicted": "accuracy alone",
    "best_proxy": "params",
    "rows": [
        {"name": name, "truths": 30, "archs": 170, "tau": INTERVAL, "gain": INTERVAL} for name in ("raw", "predictor")
    ],
    "equal_cost": {"raw": {"value": 0.4, "low": 0.3, "high": 0.5, "error": 0.05}},
}


def section_of(study):
    return next(text for text in sections(study) if "<h2>The ranker</h2>" in text)


def test_a_run_without_it_says_how_to_get_it(study, tmp_path):
    assert read_ranked(tmp_path / "ranking.json", "a command") is None
    assert "python -m fewshot_nas.rank --save=demo" in section_of(study)


def test_the_table_is_shown_with_its_intervals(study, tmp_path):
    write_json(tmp_path / "ranking.json", CONTENT)
    text = section_of(dataclasses.replace(study, ranked=read_ranked(tmp_path / "ranking.json", "a command")))
    assert "<td>predictor, 30 truths</td>" in text
    assert "0.700 [0.600, 0.800]" in text
    assert "gain over params" in text
    assert "tau at equal cost" in text
    assert text.count("0.400 [0.300, 0.500]") == 1
    assert "45,000 archs, 2,000 of them scored" in text
    assert "&lt;run&gt;" in text


@pytest.mark.parametrize(
    "content", [[], {}, {**CONTENT, "archs": "many"}, {**CONTENT, "rows": 7}, {**CONTENT, "equal_cost": 7}]
)
def test_another_file_is_refused(tmp_path, content):
    write_json(tmp_path / "ranking.json", content)
    with pytest.raises(InputError, match=r"ranking\.json: is not the ranker's table; `a command` makes it anew"):
        read_ranked(tmp_path / "ranking.json", "a command")
