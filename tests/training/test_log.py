"""The log of a run: lines of strict JSON, and TensorBoard's file beside it."""

import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot_nas.training.log import RunLog


@pytest.fixture
def log(tmp_path):
    with RunLog(tmp_path / "run" / "log.jsonl", tmp_path / "run" / "events") as opened:
        yield opened


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]


def test_records_are_appended(tmp_path, log):
    log.write({"a": 1})
    log.write({"b": {"c": 2.5}})
    assert lines(tmp_path) == [{"a": 1}, {"b": {"c": 2.5}}]


def test_what_is_no_number_is_null(tmp_path, log):
    log.write({"tau": {"value": math.nan}})
    assert lines(tmp_path) == [{"tau": {"value": None}}]


def test_rewinding_forgets_records_and_a_half_written_one(tmp_path, log):
    log.write({"a": 1})
    position = log.position()
    log.write({"b": 2})
    with (tmp_path / "run" / "log.jsonl").open("a") as stream:
        stream.write('{"half')
    log.rewind(position, step=1)
    log.write({"c": 3})
    assert lines(tmp_path) == [{"a": 1}, {"c": 3}]


def test_an_empty_log_can_be_rewound(log):
    log.rewind(0, step=0)
    assert log.position() == 0


def test_tensorboard_has_the_numbers_in_one_file(tmp_path, log):
    for step in (1, 2):
        log.write({"step": step, "loss": {"largest": 1 / step}, "word": "x"})
    events = tmp_path / "run" / "events"
    assert len(list(events.iterdir())) == 1
    shown = EventAccumulator(str(events)).Reload()
    assert [(each.step, each.value) for each in shown.Scalars("loss/largest")] == [(1, 1.0), (2, 0.5)]


def test_a_log_that_lost_its_end_is_not_filled_with_zero_bytes(tmp_path, log):
    """After a power cut the file may be shorter than the state says, or end in zero bytes."""
    log.write({"a": 1})
    whole = log.position()
    with (tmp_path / "run" / "log.jsonl").open("ab") as stream:
        stream.write(b'{"b"' + bytes(20))
    assert log.rewind(whole + 24, step=1) == 24
    assert log.rewind(whole + 100, step=1) == 100
    log.write({"c": 3})
    assert lines(tmp_path) == [{"a": 1}, {"c": 3}]


@pytest.mark.parametrize("place", ["/dev/full", "file"])
def test_a_place_without_room_for_tensorboard_ends_its_file_and_nothing_else(tmp_path, log, monkeypatch, place):
    (tmp_path / "run").mkdir()
    if place == "file":
        (tmp_path / "run" / "events").touch()
    else:
        opened = Path.open

        def of_a_full_disk(path, *how, **more):
            return opened(Path(place) if "tfevents" in path.name else path, *how, **more)

        monkeypatch.setattr(Path, "open", of_a_full_disk)
    with pytest.warns(UserWarning, match="events: cannot be written .*, so TensorBoard shows no more of this run"):
        log.write({"step": 1, "a": 1})
    log.write({"step": 2, "a": 2})
    assert [line["a"] for line in lines(tmp_path)] == [1, 2]
