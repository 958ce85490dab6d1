"""Tables of latencies: sums, files, and what is said of a part that is missing."""

import random
from dataclasses import replace

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.scores import Network
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.space import random_arch
from fewshot_nas.timing.programs import distinct_parts
from fewshot_nas.timing.table import LatencyFit, Sized, Timing, chosen_path, read_table, table_of, write_table
from tests.kinds import GATED, MACRO, MOBILE


def test_a_latency_is_the_sum_of_the_parts_without_their_calls(table):
    fit = LatencyFit(7.0, 1.1, (1.0, 2.0, 3.0))
    fast = table.__class__(**{**vars(table), "fit": fit})
    space, rng = table.space, random.Random(1)
    for _ in range(5):
        arch = random_arch(space, rng, space.pool_options)
        sides = space.sides()
        parts = [*(Sized(block, sides[place]) for place, block in space.blocks(arch)), space.head(arch)]
        expected = 7 + 1.1 * sum(table.parts[part].us - 3 for part in parts)
        expected += sum(depth * extra for depth, extra in zip(arch[:3], fit.per_block_us, strict=True))
        assert fast.measure.of(space, arch) == pytest.approx(expected)


def test_noise_does_not_make_a_part_negative(table):
    part = next(iter(table.parts))
    slow = table.__class__(**{**vars(table), "call": table.parts[part]._replace(us=1000.0)})
    assert all(slow.net_us(each) > 0 for each in table.parts)


def test_what_was_written_is_read(table, tmp_path):
    write_table(tmp_path / "table.json", table)
    assert read_table(tmp_path / "table.json") == table
    assert table_of(tmp_path / "table.json", Network(table.space, table.space.resolution, table.num_classes)) == table


def test_a_table_of_any_space_comes_back(table, tmp_path):
    """Heads with hidden layers, gates and blocks without shortcuts among its parts."""
    for space in (MACRO, MOBILE, GATED):
        parts = dict.fromkeys(distinct_parts(space, space.all_options), Timing(5.0, 0.1))
        other = replace(table, space=space, parts=parts, fit=LatencyFit(0, 1, (0.0,) * space.stages))
        write_table(tmp_path / "table.json", replace(other, space=table.space))
        assert read_table(tmp_path / "table.json").parts == parts
        arch = random_arch(space, random.Random(0))
        assert other.measure.of(space, arch) == pytest.approx(2 * (1 + len(space.blocks(arch))))


def test_a_width_that_was_not_measured_is_named(table):
    with pytest.raises(
        InputError, match=r"has no block of 3 to 2 channels on 8 x 8 pixels; .* measure it with --digits all"
    ):
        table.measure.of(table.space, table.space.extreme(table.space.all_options, largest=False))
    assert table.measure.of(table.space, table.space.extreme(table.space.all_options, largest=True)) > 0


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
