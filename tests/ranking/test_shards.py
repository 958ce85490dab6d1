"""Shards: written whole, merged in any order, and refused unless each arch occurs exactly once."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json
from fewshot_nas.ranking.shards import METRICS, Score, merge_shards, shard_path, write_shards
from fewshot_nas.space.arch import encode
from fewshot_nas.space.pool import make_pool, part_path, read_arch_file, read_pool, split_pool

POOL = make_pool(seed=0, size=40)
PARTS = split_pool(POOL, 4)
CODE = encode(POOL["arch1"])


def score(arch_id, top1=1.0):
    return Score(arch_id, encode(POOL[arch_id]), top1, top1 + 30)


def scores(part):
    return [score(arch_id, int(arch_id.removeprefix("arch")) / 7) for arch_id in part]


@pytest.fixture
def shards(tmp_path):
    """The top-1 files of the four parts."""
    for number, part in enumerate(PARTS, start=1):
        write_shards(tmp_path, number, scores(part))
    return [shard_path(tmp_path, "top1", number) for number in range(1, 5)]


def refusal(paths, expected=PARTS):
    with pytest.raises(InputError) as caught:
        merge_shards(paths, expected)
    return str(caught.value)


def edit(path, change):
    content = read_json(path)
    change(content)
    write_json(path, content)


def test_a_part_has_a_file_for_each_metric(tmp_path):
    write_shards(tmp_path, 3, [score("arch2", 50.5), score("arch1", 60.25)])
    assert {path.name: read_json(path) for path in tmp_path.iterdir()} == {
        "top1_json3.json": {
            "arch2": {"acc": 50.5, "arch": encode(POOL["arch2"])},
            "arch1": {"acc": 60.25, "arch": CODE},
        },
        "top5_json3.json": {
            "arch2": {"acc": 80.5, "arch": encode(POOL["arch2"])},
            "arch1": {"acc": 90.25, "arch": CODE},
        },
    }


def test_an_arch_scored_twice_is_a_defect(tmp_path):
    with pytest.raises(AssertionError, match="twice"):
        write_shards(tmp_path, 1, [score("arch1"), score("arch1")])


@pytest.mark.parametrize(("top1", "top5"), [(-1, 5), (50, 101), (float("nan"), 50), (50, float("nan")), (60, 50)])
def test_scores_are_percentages(top1, top5):
    with pytest.raises(InputError, match=f"arch1: top1 is {top1} and top5 is {top5}, expected percentages"):
        Score("arch1", CODE, top1, top5)


def test_scores_have_codes_of_the_space():
    with pytest.raises(InputError, match="arch1: code '1' has 1 characters"):
        Score("arch1", "1", 50, 60)


@pytest.mark.parametrize("metric", METRICS)
def test_sharded_and_merged_is_the_whole(tmp_path, metric):
    whole = tmp_path / "whole"
    write_shards(whole, 1, scores(POOL))
    for number, part in enumerate(PARTS, start=1):
        write_shards(tmp_path, number, scores(part))
    merged = merge_shards([shard_path(tmp_path, metric, number) for number in range(1, 5)], PARTS)
    assert list(merged.items()) == list(read_arch_file(shard_path(whole, metric, 1)).items())


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_merging_depends_on_no_order(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("shards")
    cuts = data.draw(st.lists(st.sampled_from(range(1, 40)), unique=True, max_size=5).map(sorted))
    ids = data.draw(st.permutations(list(POOL)))
    slices = [ids[low:high] for low, high in zip([0, *cuts], [*cuts, 40], strict=True)]
    for number, part in enumerate(slices, start=1):
        write_shards(directory, number, scores(part))
    numbers = data.draw(st.permutations(range(1, len(slices) + 1)))
    merged = merge_shards([shard_path(directory, "top1", number) for number in numbers], POOL)
    assert [(arch_id, entry.acc, entry.arch) for arch_id, entry in merged.items()] == [
        (arch_id, int(arch_id.removeprefix("arch")) / 7, arch) for arch_id, arch in POOL.items()
    ]


def test_an_arch_in_two_shards_is_refused(shards):
    edit(shards[2], lambda content: content.update(arch4={"acc": 1, "arch": encode(POOL["arch4"])}))
    expected = f"{shards[2]}: arch4 is also in {shards[0]}, expected each arch in one shard"
    assert refusal(shards) == refusal(shards[::-1]) == expected


def test_a_shard_given_twice_is_refused(shards):
    assert refusal([*shards, shards[1]]).startswith(f"{shards[1]}: arch11 is also in {shards[1]}")


def test_an_arch_that_the_pool_lacks_is_refused(shards):
    edit(shards[1], lambda content: content.update(arch41=content.pop("arch11")))
    assert refusal(shards) == f"{shards[1]}: arch41 is not in the pool of 40 archs; was another pool scored?"


def test_a_code_that_is_not_the_pools_is_refused(shards):
    other = encode(POOL["arch2"])
    edit(shards[0], lambda content: content["arch1"].update(arch=other))
    assert refusal(shards) == f"{shards[0]}: arch1 has the code {other}, expected the pool's {CODE}"


def test_a_malformed_shard_is_refused(shards):
    edit(shards[3], lambda content: content["arch40"].update(acc=100.1))
    assert refusal(shards) == f"{shards[3]}: arch40: acc is 100.1, expected a percentage from 0 to 100"


def test_missing_shards_are_named_by_part(shards):
    assert refusal(shards[::2]) == (
        f"{shards[0].parent}: scores are missing; no file holds part 2: arch11..arch20 (10 in all); "
        "no file holds part 4: arch31..arch40 (10 in all)"
    )


def test_missing_archs_are_abbreviated(shards):
    missing = ["arch12", "arch13", "arch14", "arch20", "arch17"]
    edit(shards[1], lambda content: [content.pop(arch_id) for arch_id in missing])
    assert refusal(shards) == (
        f"{shards[0].parent}: scores are missing; top1_json2.json without arch12..arch14, arch17, arch20 (5 in all)"
    )


def test_long_lists_of_missing_archs_are_cut(tmp_path):
    write_shards(tmp_path, 1, scores(list(POOL)[::2]))
    message = refusal([shard_path(tmp_path, "top1", 1)], POOL)
    assert message.endswith("without " + ", ".join(f"arch{2 * n}" for n in range(1, 11)) + ", ... (20 in all)")


def test_no_shards_are_refused():
    assert refusal([]) == "no shards to merge, expected one file for each part of the pool"


@pytest.mark.golden
@pytest.mark.skipif("FEWSHOT_NAS_TRACK1" not in os.environ, reason="FEWSHOT_NAS_TRACK1 is not set")
def test_the_competitions_parts_merge_into_their_pool():
    directory = Path(os.environ["FEWSHOT_NAS_TRACK1"]) / "json8"
    pool = read_pool(directory)
    merged = merge_shards([part_path(directory, part) for part in range(8, 0, -1)], pool)
    assert list(merged) == [f"arch{number}" for number in range(1, 45_001)]
