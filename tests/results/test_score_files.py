"""The files of an evaluation."""

from fewshot_nas.results.directories import (
    evaluation_name,
    is_evaluation_name,
    merged_path,
    parts_with_scores,
    shard_path,
)


def test_the_parts_of_one_metric_are_found(tmp_path):
    for path in (shard_path(tmp_path, "top1", 3), shard_path(tmp_path, "top5", 4), merged_path(tmp_path, "top1")):
        path.touch()
    assert parts_with_scores(tmp_path, "top1") == {3: shard_path(tmp_path, "top1", 3)}


def test_names_of_evaluations_are_known_again():
    names = [evaluation_name(17, False), evaluation_name(17, True), evaluation_name(3, True, 2000)]
    assert names == ["17", "17_all_test", "3_all_test_sample2000"]
    assert all(map(is_evaluation_name, names))
    assert not any(map(is_evaluation_name, ("", "x", "17_sample", "17_sample20_all_test", "../17")))
