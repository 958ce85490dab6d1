"""What a search has found, in files."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import write_json
from fewshot_nas.results.found import Found, FoundArch, front, read_found, write_found
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]
small = st.integers(0, 4)


def beats(one, two):
    ours, theirs = ((arch.score, -arch.costs["a"], -arch.costs["b"]) for arch in (one, two))
    return ours != theirs and all(mine >= other for mine, other in zip(ours, theirs, strict=True))


@given(st.lists(st.tuples(small, small, small), max_size=12))
def test_the_front_is_what_no_other_arch_beats(values):
    archs = [FoundArch(str(i), score, {"a": a, "b": b}) for i, (score, a, b) in enumerate(values)]
    found = front(archs, ["a", "b"])
    assert all(not beats(other, arch) for arch in found for other in archs)
    triples = {(arch.score, *arch.costs.values()) for arch in found}
    unbeaten = {(a.score, *a.costs.values()) for a in archs if not any(beats(other, a) for other in archs)}
    assert triples == unbeaten
    assert len(found) == len(triples)  # of equals, one
    assert [arch.score for arch in found] == sorted((arch.score for arch in found), reverse=True)


def test_what_was_written_is_read(tmp_path):
    archs = [FoundArch("b", 91.5, {"macs": 5, "latency": 2.5}), FoundArch("a", 90.0, {"macs": 6, "latency": 3.5})]
    found = Found({"bounds": ["macs <= 6"]}, archs, ["macs"], archs[1:])
    write_found(tmp_path / "found.json", tmp_path / "front.csv", found)
    assert read_found(tmp_path / "found.json") == found
    with (tmp_path / "front.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [{"code": "b", "score_percent": "91.5", "macs": "5", "latency": "2.5"}]


@pytest.mark.parametrize("content", [[], {}, {"archs": [{"code": "a"}], "pool": [], "measures": []}, {"archs": 1}])
def test_other_files_are_refused(tmp_path, content):
    write_json(tmp_path / "other.json", content)
    with pytest.raises(InputError, match="is not what a search has found"):
        read_found(tmp_path / "other.json")
