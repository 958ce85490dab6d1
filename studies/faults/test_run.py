"""The study of faults: its table, and the page that shows it."""

import pytest

from studies.common import ROOT, STUDIES
from studies.faults import run as study

FOUND = STUDIES / "faults" / "results.jsonl"


@pytest.mark.golden
def test_the_page_shows_what_the_script_prints():
    page = (ROOT / "docs" / "scale.md").read_text().splitlines()
    lines = list(study.table(study.records(FOUND)))
    assert len(lines) == 2 + len(study.FAULTS)
    assert [line for line in lines if line not in page] == []


def test_a_run_that_ends_otherwise_than_promised_is_counted():
    run = {"kind": "kill", "moment": "step", "codes": [-9, 2, 2], "ended_s": 3.0, "said": 1, "same_bits": True}
    others = [{**run, "codes": [-9, 0, 2]}, {**run, "said": 2, "ended_s": 9.0}, {**run, "same_bits": False}]
    *_, row = study.table([run, run, *others])
    assert row == "| kill | 5 | 4 | 3.0, 9.0 | 4 | 4 |"


def test_the_same_number_draws_the_same_fault_at_a_point_that_comes():
    for kind in study.FAULTS:
        for moment in study.MOMENTS:
            faults = [study.drawn(kind, moment, number) for number in range(20)]
            assert faults == [study.drawn(kind, moment, number) for number in range(20)]
            assert {fault.rank for fault in faults} == ({0} if kind == "disk" else {0, 1, 2})
            assert len({fault.at for fault in faults}) > 1
