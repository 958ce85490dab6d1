"""The ranker's table on its way through a file and onto a screen."""

import json
from dataclasses import asdict
from math import isnan, nan

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.ranking.interval import UNDEFINED, Interval, Row, gained, ranking_table, read_row
from fewshot_nas.records.files import as_json

TAU, GAIN = Interval(0.7, 0.6, 0.8, 0.05), Interval(0.2, -0.1, 0.5, 0.1)
RAW, PREDICTOR = Row("raw", 0, 200, TAU, GAIN), Row("predictor", 30, 200, TAU, GAIN)


def test_rows_survive_a_file():
    assert read_row("file", json.loads(json.dumps(as_json(PREDICTOR)))) == PREDICTOR


def test_what_is_not_defined_is_null_in_a_file():
    """As with three archs, of which some resamples and proxies have no correlation."""
    bare = Row("raw", 0, 3, TAU, Interval(0.1, nan, nan, nan))
    written = json.dumps(as_json(bare), allow_nan=False)
    found = read_row("file", json.loads(written))
    assert (found.tau, found.gain.value, isnan(found.gain.low)) == (TAU, 0.1, True)


@pytest.mark.parametrize("value", [7, {"name": "raw"}, {**asdict(RAW), "tau": 0.7}, {**asdict(RAW), "more": 1}])
def test_what_is_no_row_is_refused(value):
    with pytest.raises(InputError, match=r"file: .* is not a row of a ranking"):
        read_row("file", value)


def test_the_table_has_a_line_for_each_row():
    header, raw, predictor = ranking_table([RAW, PREDICTOR]).splitlines()
    assert header.split() == ["ranking", "archs", "tau", "[95", "%]", "gain", "[95", "%]"]
    assert raw.split() == ["raw", "200", "+0.700", "[+0.600,", "+0.800]", "+0.200", "[-0.100,", "+0.500]"]
    assert predictor.startswith("predictor, 30 truths  200")


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (Interval(0.2, 0.1, 0.3, 0.1), "Counting macs orders 75: a gain beyond chance."),
        (Interval(0.2, -0.1, 0.5, 0.1), "Counting macs orders 75: a difference that may be chance."),
        (Interval(-0.2, -0.3, -0.1, 0.1), "Counting macs orders 95: the scores rank worse."),
    ],
)
def test_the_gain_over_counting_is_told_in_words(gain, said):
    first, second = gained([RAW, Row("combined", 0, 200, TAU, gain)], "macs")
    assert "order 85 as stand-alone training does" in first
    assert second == said


def test_what_the_scores_are_worth_beside_truths_is_told():
    without = Row("predictor without scores", 30, 200, Interval(0.5, 0.4, 0.6, 0.1), GAIN)
    *_, with_scores, alone = gained([Row("combined", 0, 200, TAU, GAIN), PREDICTOR, without], "macs")
    assert "30 other archs, 85 are" in with_scores
    assert alone == "and 75 without the supernet's scores."


def test_an_undefined_tau_is_called_so_and_compared_with_nothing():
    alike = Row("combined", 0, 30, UNDEFINED, UNDEFINED)
    assert ranking_table([alike]).splitlines()[1].split() == ["combined", "30", "undefined", "undefined"]
    assert [*gained([alike, PREDICTOR], "macs")] == [
        "How well the scores rank is undefined: the truths are all equal, or the scores are."
    ]
    (_, counted) = gained([Row("combined", 0, 30, TAU, UNDEFINED)], None)
    assert counted == "Counting orders none of them: all archs cost the same."
    assert read_row("file", json.loads(json.dumps(as_json(alike), allow_nan=False))).tau.defined is False


def test_without_a_judged_ranking_nothing_is_told():
    assert not [*gained([], "macs")]
