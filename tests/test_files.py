"""Files appear whole or not at all."""

import errno
import fcntl
import resource
import stat

import pytest
import torch
from PIL import Image

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import locked, read_json, replacing, write_json, write_text


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


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000])
def test_json_that_python_cannot_read_is_one_sentence(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(InputError, match="file: not JSON that can be read"):
        read_json(tmp_path / "file")


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", float("nan"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write", [lambda stream: stream.write(bytes(9000)), lambda stream: torch.save(torch.zeros(9000), stream)]
)
def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path, write):
    write_text(tmp_path / "file", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with (
            pytest.raises(InputError, match=r"file: cannot be written \(File too large\)"),
            replacing(tmp_path / "file") as stream,
        ):
            write(stream)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "a.jpg"), OSError(28, "No space left", "/dev/shm")]
)
def test_another_error_inside_the_block_is_not_blamed_on_the_file(tmp_path, error):
    def interrupted():
        with replacing(tmp_path / "file") as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(OSError, match=error.strerror) as raised:
        interrupted()
    assert raised.value is error
    assert not list(tmp_path.iterdir())


def test_a_writer_of_pictures_meets_a_full_disk_too(tmp_path):
    """Pillow would write by the file's number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with (
            pytest.raises(InputError, match=r"file: cannot be written \(File too large\)"),
            replacing(tmp_path / "file") as stream,
        ):
            Image.new("RGB", (99, 99)).save(stream, "BMP")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="below: cannot be written"):
        write_text(tmp_path / "file" / "below", "new")


def test_a_file_system_without_locks_is_said_and_worked_on(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    said = r"\.lock: this file system keeps no locks \(No locks available\)"
    with pytest.warns(UserWarning, match=said), locked(tmp_path / ".lock", wait=False):
        pass
