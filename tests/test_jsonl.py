"""Files that only grow."""

import pytest

from fewshot_nas.errors import InputError
from fewshot_nas.jsonl import appending, records


def test_records_are_read_as_they_were_appended(tmp_path):
    path = tmp_path / "new" / "file.jsonl"
    for value in (1, 2):
        with appending(path) as append:
            append({"value": value})
            assert list(records(path))[-1] == {"value": value}  # at once
    assert list(records(path)) == [{"value": 1}, {"value": 2}]


@pytest.mark.parametrize("left", [b'{"value": 3', b"\0\0\0", b'{"val\0\0'])
def test_what_a_crash_leaves_is_passed_over_and_replaced(tmp_path, left):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"value": 1}\n' + left)
    assert list(records(path)) == [{"value": 1}]
    with appending(path) as append:
        append({"value": 2})
    assert path.read_bytes() == b'{"value": 1}\n{"value": 2}\n'


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_bytes(b'{"value": 1}\nnonsense\n{"value": 2}\n')
    with pytest.raises(InputError, match=r"file\.jsonl: line 2 is not valid JSON"):
        list(records(path))
