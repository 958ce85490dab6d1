"""Merging an evaluation's parts: complete, of this pool, and scored alike, or an error that says what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_nas.cli.errors import InputError
from fewshot_nas.records.files import read_json, write_json
from fewshot_nas.results.directories import shard_path
from fewshot_nas.results.merging import merge_parts, read_codes
from fewshot_nas.results.scores import (
    Score,
    Scored,
    joined_manifest,
    network_of,
    objections,
    read_manifests,
    read_scores,
    write_shards,
)
from fewshot_nas.space.pool import Entry, make_pool, part_path, read_arch_file, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

PX8 = SPACES["px8"]

ARCHS = make_pool(PX8, seed=0, size=40)
CODES = {arch_id: PX8.encode(arch) for arch_id, arch in ARCHS.items()}
POOL = [{arch_id: CODES[arch_id] for arch_id in part} for part in split_pool(ARCHS, 4)]
ALIKE = {part: {"precision": "fp32", "limit": None, "part": part, "archs": 9 + part} for part in range(1, 5)}


def top1(arch_id):
    return int(arch_id.removeprefix("arch")) / 7


@pytest.fixture
def scores(tmp_path):
    """A directory with the scores of the four parts."""
    for number, part in enumerate(POOL, start=1):
        write_shards(
            tmp_path, number, [Score(arch_id, code, top1(arch_id), 90, 40, 30) for arch_id, code in part.items()]
        )
    return tmp_path


def edit(path, change):
    content = read_json(path)
    change(content)
    write_json(path, content)


def refusal(directory, manifests=ALIKE):
    with pytest.raises(InputError) as caught:
        merge_parts(directory, "top1", POOL, manifests, PX8)
    return str(caught.value)


def test_parts_join_in_the_pools_order(scores):
    edit(shard_path(scores, "top1", 2), lambda content: content.update(arch11=content.pop("arch11")))
    merged = merge_parts(scores, "top1", POOL, ALIKE, PX8)
    assert list(merged.items()) == [(key, Scored(top1(key), code)) for key, code in CODES.items()]


@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_sharded_and_merged_is_the_whole_in_whatever_order(tmp_path_factory, rng, parts):
    directory = tmp_path_factory.mktemp("shards")
    pool = [{arch_id: CODES[arch_id] for arch_id in part} for part in split_pool(ARCHS, parts)]
    for number, part in rng.sample(list(enumerate(pool, start=1)), parts):
        scored = [
            Score(arch_id, part[arch_id], top1(arch_id), 90, 40, 30) for arch_id in rng.sample(list(part), len(part))
        ]
        write_shards(directory, number, scored)
    merged = merge_parts(directory, "top1", pool, {}, PX8)
    assert list(merged.items()) == [(key, Scored(top1(key), code)) for key, code in CODES.items()]


def test_top5_is_merged_from_its_own_files(scores):
    assert {scored.acc for scored in merge_parts(scores, "top5", POOL, ALIKE, PX8).values()} == {90}


def test_all_that_is_missing_is_listed(scores):
    shard_path(scores, "top1", 2).unlink()
    missing = ["arch22", "arch23", "arch24", "arch30", "arch27"]
    edit(shard_path(scores, "top1", 3), lambda content: [content.pop(arch_id) for arch_id in missing])
    assert refusal(scores) == (
        f"{scores}: scores are missing: top1_json2.json does not exist (10 archs);"
        " top1_json3.json lacks arch22..arch24, arch27, arch30 (5 in all)"
    )


def test_long_lists_of_missing_archs_are_cut(tmp_path):
    write_shards(tmp_path, 1, [Score(key, code, 1, 1, 1, 1) for key, code in list(CODES.items())[::2]])
    with pytest.raises(InputError, match=r"lacks arch2, arch4, .*, arch20, \.\.\. \(20 in all\)"):
        merge_parts(tmp_path, "top1", [CODES], {}, PX8)


@pytest.mark.parametrize("known", [(1, 2, 3, 4), (3,)])
def test_a_limit_says_how_much_of_each_part_to_expect(scores, known):
    limited = {part: {"limit": 3} for part in known}
    for part in range(1, 5):
        edit(shard_path(scores, "top1", part), lambda content: [content.pop(key) for key in list(content)[3:]])
    merged = merge_parts(scores, "top1", POOL, limited, PX8)
    assert list(merged) == [arch_id for part in POOL for arch_id in list(part)[:3]]


def test_more_archs_than_the_limit_are_refused(scores):
    assert "arch4 is not one of the 3 archs expected in part 1" in refusal(scores, {1: {"limit": 3}})


@pytest.mark.parametrize("limit", [0, "3", 2.0])
def test_a_limit_is_a_positive_whole_number(scores, limit):
    assert f"limit {limit!r}, expected a positive whole number" in refusal(scores, {1: {"limit": limit}})


def test_archs_of_another_part_are_refused(scores):
    edit(shard_path(scores, "top1", 3), lambda content: content.update(arch4={"acc": 1, "arch": CODES["arch4"]}))
    expected = f"{shard_path(scores, 'top1', 3)}: arch4 is not one of the 10 archs expected in part 3"
    assert refusal(scores).startswith(expected)


def test_another_code_than_the_pools_is_refused(scores):
    edit(shard_path(scores, "top1", 1), lambda content: content["arch1"].update(arch=CODES["arch2"]))
    assert f"arch1 has the code {CODES['arch2']}, expected the pool's {CODES['arch1']}" in refusal(scores)


def test_a_part_that_the_pool_does_not_have_is_refused(scores):
    surplus = shard_path(scores, "top1", 5)
    surplus.write_text("{}")
    assert refusal(scores) == f"{surplus}: the pool has 4 parts only; was another pool scored?"


def test_an_earlier_merge_is_no_part(scores):
    (scores / "top1_json_final.json").write_text("{}")
    assert len(merge_parts(scores, "top1", POOL, ALIKE, PX8)) == 40


def test_parts_that_were_scored_alike_meet_no_objection(tmp_path):
    assert list(objections(tmp_path, ALIKE, range(1, 5))) == []


def test_the_first_difference_is_named(tmp_path):
    manifests = ALIKE | {3: {**ALIKE[3], "precision": "bf16", "limit": 5}}
    assert list(objections(tmp_path, manifests, range(1, 5))) == [
        f"{tmp_path}/manifest3.json: precision is 'bf16', but 'fp32' in manifest1.json"
    ]


def test_a_key_that_only_one_manifest_has_is_a_difference(tmp_path):
    manifests = ALIKE | {2: {**ALIKE[2], "seed": None}}
    assert list(objections(tmp_path, manifests, range(1, 5))) == [
        f"{tmp_path}/manifest2.json: seed is None, but absent in manifest1.json"
    ]


def test_a_mixture_of_numerics_is_named(tmp_path):
    ours, theirs = {"torch": "2.6", "cpu_capability": "AVX512"}, {"torch": "2.6", "cpu_capability": "AVX2"}
    manifests = {part: {**ALIKE[part], "numerics": ours} for part in ALIKE}
    assert list(objections(tmp_path, manifests, range(1, 5))) == []
    assert list(objections(tmp_path, manifests | {2: {**ALIKE[2], "numerics": theirs}}, range(1, 5))) == [
        f"{tmp_path}/manifest2.json: numerics.cpu_capability is 'AVX2', but 'AVX512' in manifest1.json"
    ]
    mixed = manifests | {3: {**ALIKE[3], "numerics": [ours, theirs]}}
    assert list(objections(tmp_path, mixed, range(1, 5))) == [
        f"{tmp_path}/manifest3.json: part 3 was computed with several numerics"
    ]


def test_manifests_of_the_first_version_do_not_tell_their_numerics(tmp_path):
    manifests = ALIKE | {2: {**ALIKE[2], "numerics": {"torch": "2.6"}}}
    assert list(objections(tmp_path, manifests, range(1, 5))) == []
    assert list(objections(tmp_path, manifests | {3: {**ALIKE[3], "numerics": {"torch": "2.7"}}}, range(1, 5))) == [
        f"{tmp_path}/manifest3.json: numerics.torch is '2.7', but '2.6' in manifest2.json"
    ]


def test_missing_manifests_are_named(tmp_path):
    manifests = {part: ALIKE[part] for part in (1, 3, 4)}
    assert list(objections(tmp_path, manifests, range(1, 5))) == [
        f"{tmp_path}/manifest2.json: no such file, so nobody knows how part 2 was scored"
    ]


def test_the_joined_manifest_says_what_differs():
    manifests = {1: {"precision": "fp32", "seed": 0, "part": 1}, 2: {"precision": "bf16", "seed": 0, "part": 2}}
    assert joined_manifest(manifests, 7) == {
        "seed": 0,
        "archs": 7,
        "differing": {"precision": {"1": "fp32", "2": "bf16"}},
    }


def test_a_manifest_is_an_object(tmp_path):
    (tmp_path / "manifest2.json").write_text("[1]")
    with pytest.raises(InputError, match=r"manifest2\.json: expected an object .* got \[1\]"):
        read_manifests(tmp_path, range(1, 5))


@given(st.dictionaries(st.sampled_from(list(ARCHS)), st.floats(0, 100) | st.integers(0, 100), min_size=1))
def test_scores_are_read_as_arch_files_are(tmp_path_factory, accuracies):
    path = tmp_path_factory.mktemp("scores") / "scores.json"
    write_arch_file(path, PX8, {arch_id: Entry(acc, ARCHS[arch_id]) for arch_id, acc in accuracies.items()})
    thorough = [(key, entry.acc, PX8.encode(entry.arch)) for key, entry in read_arch_file(path, PX8).items()]
    assert [(key, *scored) for key, scored in read_scores(path, PX8).items()] == thorough


def test_the_short_form_of_a_code_is_completed(tmp_path):
    write_json(tmp_path / "scores.json", {"arch1": {"acc": 1, "arch": CODES["arch1"][1:]}})
    assert read_scores(tmp_path / "scores.json", PX8) == {"arch1": Scored(1.0, CODES["arch1"])}


SAMPLED = {part: {"sample": 16, "part": part, "archs": 4} for part in range(1, 5)}


def keep(directory, part, archs):
    edit(shard_path(directory, "top1", part), lambda content: [content.pop(key) for key in list(content)[archs:]])


def test_a_sample_joins_the_archs_that_each_part_has(scores):
    for part in range(1, 5):
        keep(scores, part, 4)
    merged = merge_parts(scores, "top1", POOL, SAMPLED, PX8)
    assert list(merged) == [arch_id for codes in POOL for arch_id in list(codes)[:4]]


def test_a_sample_cut_short_is_refused(scores):
    for part in range(1, 5):
        keep(scores, part, 4 if part != 3 else 3)
    assert "top1_json3.json has 3 of the 4 archs that were sampled" in refusal(scores, SAMPLED)


def test_a_part_of_which_nothing_was_sampled_is_passed_over(scores):
    for part in range(1, 5):
        keep(scores, part, 4 if part != 3 else 0)
    merged = merge_parts(scores, "top1", POOL, SAMPLED | {3: {"sample": 16, "part": 3, "archs": 0}}, PX8)
    assert not merged.keys() & POOL[2].keys()
    assert len(merged) == 12


def test_a_sampled_part_without_its_number_of_archs_is_refused(scores):
    with pytest.raises(InputError, match="the manifest of part 2 has None archs"):
        merge_parts(scores, "top1", POOL, ALIKE | {2: {"sample": 16}}, PX8)


@pytest.mark.parametrize(
    "entry",
    [
        {"acc": 101, "arch": CODES["arch1"]},
        {"acc": True, "arch": CODES["arch1"]},
        {"acc": "1", "arch": CODES["arch1"]},
        {"acc": 1, "arch": 5},
        {"acc": 1, "arch": CODES["arch1"], "more": 1},
        {"arch": CODES["arch1"]},
        7,
    ],
)
def test_malformed_scores_are_refused(tmp_path, entry):
    write_json(tmp_path / "scores.json", {"arch1": entry})
    with pytest.raises(InputError, match=r"scores\.json: arch1: "):
        read_scores(tmp_path / "scores.json", PX8)


def test_a_pool_is_read_as_text(tmp_path):
    for number, part in enumerate(split_pool(ARCHS, 4), start=1):
        write_arch_file(part_path(tmp_path, number), PX8, {key: Entry(0.0, arch) for key, arch in part.items()})
    assert read_codes(tmp_path, PX8) == POOL


def test_a_pool_with_an_id_in_two_parts_is_refused(tmp_path):
    for number in (1, 2):
        write_arch_file(part_path(tmp_path, number), PX8, {"arch1": Entry(0.0, ARCHS["arch1"])})
    with pytest.raises(InputError, match="an arch is in two parts"):
        read_codes(tmp_path, PX8)


def test_a_directory_without_a_pool_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no part1\.json"):
        read_codes(tmp_path, PX8)


def test_a_manifest_describes_the_network(tmp_path):
    space = SPACES["track1"].values()
    write_json(tmp_path / "manifest.json", {"space": space, "num_classes": 10, "resolution": 64})
    manifest = read_json(tmp_path / "manifest.json")
    network = network_of(manifest, tmp_path / "manifest.json", PX8)
    arch = ARCHS["arch1"]
    assert network.cost(arch) == SPACES["track1"].cost(arch, resolution=64, num_classes=10)


def test_what_a_manifest_leaves_out_is_the_defaults(tmp_path):
    network = network_of({}, tmp_path, PX8)
    assert (network.space, network.resolution, network.num_classes) == (PX8, 8, 1000)


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"space": {"nmae": "px8"}}, "space does not describe a search space"),
        ({"space": "px8"}, "space does not describe a search space"),
        ({"num_classes": 0}, "num_classes is 0, expected a positive whole number"),
        ({"resolution": "8"}, "resolution is '8', expected a positive whole number"),
    ],
)
def test_a_manifest_of_no_network_is_refused(tmp_path, manifest, said):
    with pytest.raises(InputError, match=f"manifest: {said}"):
        network_of(manifest, tmp_path / "manifest", PX8)
