"""Files appear whole or not at all."""

import stat

import pytest

from fewshot_nas.files import replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted():
        with replacing(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_directories_are_made_and_permissions_are_the_usual_ones(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"a": 1})
    (tmp_path / "plain").touch()
    assert path.read_text() == '{\n    "a": 1\n}\n'
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", float("nan"))
    assert not any(tmp_path.iterdir())
