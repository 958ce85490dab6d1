"""A fingerprint is found once: the calls that ask for a file's size are counted."""

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.cache import kept_fingerprint
from fewshot_nas.data.images import LOOKED_AT, FileImages, Names

COUNT = 500


def listed(root, labels=None):
    labels = torch.arange(COUNT) % 7 if labels is None else labels
    return FileImages(root, Names.of(f"{number}.jpg" for number in range(COUNT)), labels)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(bytes(number))
    return tmp_path / "images"


@pytest.fixture
def asked(monkeypatch):
    """Names of the files whose size was asked for."""
    names, real = [], FileImages.file_size
    monkeypatch.setattr(FileImages, "file_size", lambda self, name: names.append(name) or real(self, name))
    return names


def test_only_a_few_files_are_asked_for_their_size_a_second_time(root, tmp_path, asked):
    first = kept_fingerprint(listed(root), tmp_path)
    assert len(asked) == COUNT + LOOKED_AT
    asked.clear()
    assert kept_fingerprint(listed(root), tmp_path) == first == listed(root).fingerprint
    assert len(asked[: -COUNT or None]) == LOOKED_AT


def test_a_part_asks_for_no_size_at_all(root, tmp_path, asked):
    images = listed(root)
    images.take_fingerprint(kept_fingerprint(images, tmp_path))
    asked.clear()
    parts = [images.select(torch.arange(300)), images.select(torch.arange(200))]
    assert len({images.fingerprint, *(part.fingerprint for part in parts)}) == 3
    assert asked == []


@pytest.mark.parametrize("change", ["label", "root", "first size", "last size", "content"])
def test_what_has_changed_is_found_anew(root, tmp_path, change):
    before = kept_fingerprint(listed(root), tmp_path)
    labels = (torch.arange(COUNT) + (change == "label")) % 7
    if change == "root":
        root = root.rename(tmp_path / "elsewhere")
        (root / "250.jpg").write_bytes(b"another")
    elif change == "content":
        (root / f"{COUNT - 1}.jpg").write_bytes(bytes(COUNT - 2) + b"1")
    elif change != "label":
        (root / f"{0 if change == 'first size' else COUNT - 1}.jpg").write_bytes(b"another")
    assert kept_fingerprint(listed(root, labels), tmp_path) != before


def test_a_missing_file_is_named(root, tmp_path):
    (root / "77.jpg").unlink()
    with pytest.raises(InputError, match=r"77\.jpg: cannot be read"):
        kept_fingerprint(listed(root), tmp_path)
    assert not list((tmp_path / "fingerprints").glob("*.json"))


def test_a_damaged_note_is_named(root, tmp_path):
    kept_fingerprint(listed(root), tmp_path)
    (path,) = (tmp_path / "fingerprints").glob("*.json")
    path.write_text("{}")
    with pytest.raises(InputError, match=rf"{path.name}: has no fingerprint; delete the file"):
        kept_fingerprint(listed(root), tmp_path)
