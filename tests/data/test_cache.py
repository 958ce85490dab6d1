"""The cache holds what decoding gives, whole or not at all."""

import multiprocessing
import os
import time

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data import cache as under_test
from fewshot_nas.data.cache import decoded
from fewshot_nas.data.transforms import eval_transform
from fewshot_nas.records.files import locked

TRANSFORM = eval_transform("photo", 16)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def direct(files):
    return TRANSFORM(files.pixels(torch.arange(7)))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_cache_holds_what_decoding_gives(files, cache, direct, workers):
    assert torch.equal(decoded(files, TRANSFORM, cache, workers=workers), direct)
    assert len(list(cache.glob("*.npy"))) == 1


def test_nothing_is_decoded_twice(files, cache, direct):
    decoded(files, TRANSFORM, cache)
    for name in files.names:
        path = files.root / name
        path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(decoded(files, TRANSFORM, cache), direct)


def test_images_and_transforms_have_files_of_their_own(files, cache):
    decoded(files, TRANSFORM, cache)
    decoded(files, eval_transform("photo", 18), cache)
    decoded(files, eval_transform("shift", 16), cache)
    decoded(files.select(torch.arange(3)), TRANSFORM, cache)
    assert len(list(cache.glob("*.npy"))) == 4


def test_writing_to_the_images_leaves_the_file(files, cache, direct):
    decoded(files, TRANSFORM, cache).zero_()
    assert torch.equal(decoded(files, TRANSFORM, cache), direct)


def test_images_in_memory_need_no_file(numbered, cache):
    images = numbered(9)
    assert decoded(images, eval_transform("shift", 8), cache).data_ptr() == images.array.data_ptr()
    assert decoded(images, eval_transform("shift", 10), cache).shape == (9, 1, 10, 10)
    assert not cache.exists()


def test_an_interrupted_build_leaves_nothing(files, cache):
    (files.root / files.names[6]).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image 6\.jpg"):
        decoded(files, TRANSFORM, cache)
    assert [path.name for path in cache.iterdir()] == [".lock"]


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: b"x" + content])
def test_a_damaged_file_is_named(files, cache, damage):
    decoded(files, TRANSFORM, cache)
    (path,) = cache.glob("*.npy")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"{path.name}: the cached images are damaged; delete the file"):
        decoded(files, TRANSFORM, cache)


def build(barrier, images, cache, results):
    barrier.wait()
    results.put(int(decoded(images, TRANSFORM, cache).sum()))


def test_one_of_several_processes_builds_it(files, cache, together, monkeypatch):
    real, built = under_test._build_decoded, cache.parent / "built"

    def noted(*parts):
        with built.open("a") as stream:
            stream.write("once\n")
        time.sleep(0.3)  # so that the others come while it is being built
        real(*parts)

    monkeypatch.setattr(under_test, "_build_decoded", noted)
    together(*[lambda: decoded(files, TRANSFORM, cache)] * 3)
    assert built.read_text() == "once\n"


def test_only_what_a_killed_builder_of_the_cache_left_is_removed(files, cache):
    """The cache may be any directory, such as one with files of somebody else."""
    digits = "0123456789abcdef"
    left = [f".{digits}_256_224.npy.{digits * 2}", f".{digits}_side256.pictures.{digits * 2}"]
    left.append(f".{digits * 2}.json.{digits * 2}")
    others = [".bashrc.d.old", ".a.npy.0123", f".report.json.{digits * 2}", f"{digits}_256_224.npy.{digits * 2}"]
    others.append(f".{digits}_224.npy.{digits * 2}")  # young
    cache.mkdir()
    for name in (*left, *others):
        (cache / name).touch()
        if name != others[-1]:
            os.utime(cache / name, (0, 0))
    decoded(files, TRANSFORM, cache)
    there = {path.name for path in cache.iterdir()}
    assert (there & set(left), there & set(others)) == (set(), set(others))


def test_nothing_is_removed_while_another_process_builds(files, cache):
    """A builder may pause for longer than ten minutes."""
    decoded(files, TRANSFORM, cache)
    slow = cache / f".{'0' * 16}_256_224.npy.{'1' * 32}"
    slow.touch()
    os.utime(slow, (0, 0))
    with locked(cache / ".lock", wait=False):
        decoded(files, TRANSFORM, cache)  # is there
    assert slow.exists()


def test_processes_may_build_it_at_once(files, cache, direct):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    builders = [context.Process(target=build, args=(barrier, files, cache, results)) for _ in range(3)]
    for builder in builders:
        builder.start()
    assert {results.get(timeout=20) for _ in builders} == {int(direct.sum())}
    for builder in builders:
        builder.join()
    assert len(list(cache.glob("*.npy"))) == 1
    assert torch.equal(decoded(files, TRANSFORM, cache), direct)
