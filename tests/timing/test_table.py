"""Tables of latencies: sums, files, and what is said of a part that is missing."""

import random
from dataclasses import replace

import pytest

from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.scores.manifests import Network
from fewshot_nas.space.sampling import largest, random_arch, smallest
from fewshot_nas.space.search_space import SPACES
from fewshot_nas.timing.table import Head, LatencyFit, Stem, chosen_path, read_table, table_of, write_table


def test_a_latency_is_the_sum_of_the_parts_without_their_calls(table):
    fit = LatencyFit(7.0, 1.1, (1.0, 2.0, 3.0))
    fast = table.__class__(**{**vars(table), "fit": fit})
    space, rng = table.space, random.Random(1)
    for _ in range(5):
        arch = random_arch(space, rng, space.pool_digits)
        blocks = space.blocks(arch)
        parts = [Stem(blocks[0].inputs), *blocks, Head(blocks[-1].out)]
        expected = 7 + 1.1 * sum(table.parts[part].us - 3 for part in parts)
        expected += sum(depth * extra for depth, extra in zip(arch.depths, fit.per_block_us, strict=True))
        assert fast.measure.of(space, arch) == pytest.approx(expected)


def test_noise_does_not_make_a_part_negative(table):
    part = Stem(table.space.stem_width(1))
    slow = table.__class__(**{**vars(table), "call": table.parts[part]._replace(us=1000.0)})
    assert all(slow.net_us(each) > 0 for each in table.parts)


def test_what_was_written_is_read(table, tmp_path):
    write_table(tmp_path / "table.json", table)
    assert read_table(tmp_path / "table.json") == table
    assert table_of(tmp_path / "table.json", Network(table.space, table.space.resolution, table.num_classes)) == table


def test_a_width_that_was_not_measured_is_named(table):
    with pytest.raises(InputError, match=r"has no stem of 2 channels; .* measure it with --digits all"):
        table.measure.of(table.space, smallest(table.space))
    assert table.measure.of(table.space, largest(table.space)) > 0


@pytest.mark.parametrize("change", [{"format": "another"}, {"parts": [{"part": "tail"}]}, {"fit": {}}, {"call": 3}])
def test_other_files_are_refused(table, tmp_path, change):
    path = tmp_path / "table.json"
    write_table(path, table)
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError, match="is not a table of latencies"):
        read_table(path)


def test_a_table_of_another_space_is_refused(table, tmp_path):
    write_table(tmp_path / "table.json", table)
    same = Network(table.space, table.space.resolution, table.num_classes)
    for other, named in (
        (replace(same, space=SPACES["px8"], resolution=8), r"space\.name cifar changed \(now px8\)"),
        (
            replace(same, num_classes=same.num_classes + 1),
            rf"num_classes {same.num_classes} \(now {same.num_classes + 1}\)",
        ),
        (replace(same, resolution=40), rf"space\.resolution {same.resolution} \(now 40\)"),
    ):
        with pytest.raises(InputError, match=rf"table\.json: was measured for {named}"):
            table_of(tmp_path / "table.json", other)


def test_one_table_is_taken_and_of_two_one_has_to_be_named(tmp_path):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert chosen_path(None, []) is None
    assert chosen_path(None, [one]) == one
    assert chosen_path(two, [one]) == two
    with pytest.raises(InputError, match=r"has the tables one\.json and two\.json; name one with --latency"):
        chosen_path(None, [one, two])
