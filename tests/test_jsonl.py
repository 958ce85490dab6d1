"""Files that only grow."""

import os

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.journal import append, appending, cut, records


def test_records_are_read_as_they_were_appended(tmp_path):
    path = tmp_path / "new" / "file.jsonl"
    for value in (1, 2):
        appending(path)({"value": value})
        assert list(records(path))[-1] == {"value": value}  # at once
    assert list(records(path)) == [{"value": 1}, {"value": 2}]


def test_a_record_is_on_disk_when_the_call_returns(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle)) or real(handle))
    append(tmp_path / "file.jsonl", {"value": 1})
    file, directory = synced  # the new name as well
    assert (file.st_ino, file.st_size) == ((tmp_path / "file.jsonl").stat().st_ino, 13)
    assert directory.st_ino == tmp_path.stat().st_ino


@pytest.mark.parametrize("left", [b'{"value": 3', b"\0\0\0", b'{"val\0\0'])
def test_what_a_crash_leaves_is_passed_over_and_replaced(tmp_path, left):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"value": 1}\n' + left)
    assert list(records(path)) == [{"value": 1}]
    appending(path)({"value": 2})
    assert path.read_bytes() == b'{"value": 1}\n{"value": 2}\n'


@pytest.mark.parametrize("lost", [b"\0\0", b'{"val\0\0\0', b'\0\0lue": 2}\n', b"\0\n"])
def test_what_a_power_cut_leaves_in_the_middle_is_said_and_passed_over(tmp_path, lost):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"value": 1}\n' + lost + b'{"value": 3}\n')
    with pytest.warns(UserWarning, match=r"file\.jsonl, line 2: .* were lost, probably in a power cut"):
        assert list(records(path)) == [{"value": 1}, {"value": 3}]


def test_a_file_that_has_lost_lines_is_cut_to_its_whole_ones(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"value": 1}\n{"val')
    assert cut(path, 26) == 13
    assert path.read_bytes() == b'{"value": 1}\n'
    assert cut(path, 13) == 0
    assert cut(tmp_path / "none.jsonl", 5) == 5


@pytest.mark.parametrize(("line", "said"), [("nonsense", "not valid JSON"), ("[" * 9999, "not valid"), ("2", "expec")])
def test_a_damaged_line_is_named(tmp_path, line, said):
    path = tmp_path / "file.jsonl"
    path.write_text(f'{{"value": 1}}\n{line}\n{{"value": 2}}\n')
    with pytest.raises(InputError, match=rf"file\.jsonl, line 2: {said}"):
        list(records(path))
