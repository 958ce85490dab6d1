"""The study of faults: its table, and the page that tells its result."""

import pytest

from studies.common import ROOT, STUDIES
from studies.faults import run as study

FOUND = STUDIES / "faults" / "results.jsonl"


@pytest.mark.golden
def test_the_page_says_what_was_found():
    rows = [line.strip("| ").split(" | ") for line in study.table(study.records(FOUND))][2:]
    assert [row[0] for row in rows] == list(study.FAULTS)
    assert all(runs == failed == said == same for _, runs, failed, _, said, same in rows)
    page = (ROOT / "docs" / "scale.md").read_text()
    assert f"put {sum(int(row[1]) for row in rows)} such faults into three processes" in page


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
