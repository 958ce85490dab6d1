"""The pool: its distribution, its files, and what is refused in them."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from fewshot_nas import make_pool as command
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.space.pool import Entry, make_pool, read_arch_file, read_pool, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

COMMITTED = Path(__file__).parents[2] / "json_file" / "json8"
CODE = "1448531313231300123222220032124212323242524525756555"
OTHER = "1252233313000000223212122253130000000000006515000000"


@pytest.fixture(scope="module")
def pool():
    return make_pool(PX8, 0, 45_000)


@pytest.mark.golden
def test_the_committed_pool_is_the_default_one(pool):
    digest = hashlib.sha256()
    for part in range(1, 9):
        digest.update((COMMITTED / f"part{part}.json").read_bytes())
    assert digest.hexdigest() == "aa191ddc6fe7d1058e67242340a92dc3ec6d9ea3852f78a92fffb439d0033f25"
    assert read_pool(COMMITTED, PX8) == split_pool(pool, 8)


def test_parts_are_consecutive_and_equal(pool):
    parts = split_pool(pool, 8)
    assert [len(part) for part in parts] == [5625] * 8
    assert next(iter(parts[1])) == "arch5626"
    assert [arch_id for part in parts for arch_id in part] == [f"arch{number}" for number in range(1, 45_001)]


def test_archs_are_distinct_networks(pool):
    archs = list(pool.values())[:9_000]
    assert len({tuple(SPACES["track1"].blocks(arch)) for arch in archs}) == 9_000


def test_decisions_are_uniform(pool):
    def spread(values):
        counts = Counter(values)
        return len(counts), max(counts.values()) / min(counts.values())

    for number, (slot, known) in enumerate(zip(PX8.slots, PX8.pool_options, strict=True)):
        if slot.when is None or slot.name.endswith("mid 1"):  # what every arch has
            options, ratio = spread(arch[number] for arch in pool.values())
            assert (options, ratio < 1.1) == (len(known), True)


@pytest.mark.golden
@pytest.mark.skipif("FEWSHOT_NAS_TRACK1" not in os.environ, reason="FEWSHOT_NAS_TRACK1 is not set")
def test_the_competitions_pool_is_read():
    parts = read_pool(Path(os.environ["FEWSHOT_NAS_TRACK1"]) / "json8", PX8)
    assert [len(part) for part in parts] == [5625] * 8
    archs = [arch for part in parts for arch in part.values()]
    assert all(map(PX8.in_pool, archs))
    assert [max(arch[4 + stage] for arch in archs) for stage in range(4)] == [3, 3, 5, 7]


def test_files_hold_what_was_written(tmp_path, pool):
    entries = {arch_id: Entry(12.5, pool[arch_id]) for arch_id in ("arch3", "arch1", "arch2")}
    write_arch_file(tmp_path / "scores.json", PX8, entries)
    assert read_arch_file(tmp_path / "scores.json", PX8) == entries
    assert list(read_arch_file(tmp_path / "scores.json", PX8)) == ["arch3", "arch1", "arch2"]


def one(**fields):
    return json.dumps({"arch7": {"acc": 0.0, "arch": CODE} | fields})


BAD_FILES = [
    (one()[:-5], "part1.json: not valid JSON at line 1, column"),
    ("", "part1.json: not valid JSON at line 1, column 1"),
    ("[]", 'part1.json: expected an object {"arch1"'),
    ("{}", "with at least one arch"),
    ('{"arch7": 3}', "part1.json: arch7: expected an object with the keys 'acc' and 'arch', got 3"),
    ('{"arch7": {"acc": 1}}', "got the keys ['acc']"),
    (
        one(epoch=3),
        "part1.json: arch7: expected an object with the keys 'acc' and 'arch', got the keys ['acc', 'arch', 'epoch']",
    ),
    (one(acc=100.5), "part1.json: arch7: acc is 100.5, expected a percentage from 0 to 100"),
    (one(acc=-1), "acc is -1"),
    (one(acc=True), "acc is True"),
    (one(acc="7"), "acc is '7'"),
    (one(acc=float("nan")), "part1.json: arch7: acc is nan, expected a percentage"),
    (one(arch=5), "arch7: arch is 5, expected a code in quotes"),
    (one(arch=CODE[:-2]), "part1.json: arch7: code '14485"),
    (one()[:-1] + ", " + one()[1:], "part1.json: 'arch7' occurs twice in {"),
    ("\xff", "part1.json: not valid JSON"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, capsys, text, message):
    (tmp_path / "part1.json").write_text(text, encoding="utf-8")
    assert run(command.main, ["--check", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.count("\n") == 1
    assert output.out == f"pool {tmp_path}; space px8\n"


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "part1.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"part1\.json: cannot be read as text"):
        read_pool(tmp_path, PX8)


def test_repetitions_between_parts_are_refused(tmp_path):
    (tmp_path / "part1.json").write_text(one())
    (tmp_path / "part2.json").write_text(one(arch=OTHER))
    with pytest.raises(InputError, match=r"part2\.json: arch7 is also in .*part1\.json"):
        read_pool(tmp_path, PX8)
    (tmp_path / "part2.json").write_text(one().replace("arch7", "arch8"))
    with pytest.raises(InputError, match=rf"part2\.json: code {CODE} is also in .*part1\.json"):
        read_pool(tmp_path, PX8)


def test_a_missing_part_is_named(tmp_path):
    (tmp_path / "part1.json").write_text(one())
    (tmp_path / "part900000000.json").write_text(one(arch=OTHER))
    with pytest.raises(InputError, match=r"part2\.json: no such file, but there is part900000000\.json"):
        read_pool(tmp_path, PX8)
    with pytest.raises(InputError, match=r"no part1\.json, expected a pool; `python -m fewshot_nas.make_pool "):
        read_pool(tmp_path / "nothing", PX8)


def test_the_command_writes_and_checks_a_pool(tmp_path, capsys):
    out = ["--size", "20", "--parts", "3", "--out", str(tmp_path / "pool")]
    assert run(command.main, [*out, "--seed", "5"]) == 0
    assert read_pool(tmp_path / "pool", PX8) == split_pool(make_pool(PX8, 5, 20), 3)
    assert run(command.main, ["--check", str(tmp_path / "pool")]) == 0
    assert "20 distinct archs in 3 parts, all valid" in capsys.readouterr().out


def test_the_command_never_mixes_two_pools(tmp_path, capsys):
    out = ["--size", "20", "--out", str(tmp_path)]
    assert run(command.main, [*out, "--parts", "3"]) == 0
    assert run(command.main, [*out, "--parts", "2"]) == 2
    assert "part3.json: left from a pool of more parts" in capsys.readouterr().err


@pytest.mark.parametrize("parts", ["0", "21"])
def test_an_impossible_number_of_parts_writes_nothing(tmp_path, capsys, parts):
    assert run(command.main, ["--size", "20", "--parts", parts, "--out", str(tmp_path / "pool")]) == 2
    assert "--parts is" in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--size=0", "--size is 0"), ("--size=99999999999", "--size is 9"), ("--seed=-3", "--seed is -3")],
)
def test_impossible_pools_are_refused(tmp_path, capsys, argument, message):
    assert run(command.main, ["--parts", "1", argument, "--out", str(tmp_path / "pool")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()
