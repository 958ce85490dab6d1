"""The lists of docs/imagenet.md, from a small tree of folders."""

import pytest

from fewshot_nas.data.files import LISTS, class_names, read_list
from tests.script_module import load_script


@pytest.fixture
def tree(tmp_path):
    for part, count in (("train", 9), ("val", 4)):
        for name in ("n02", "n01", "n03"):
            directory = tmp_path / part / name
            directory.mkdir(parents=True)
            for number in range(count):
                (directory / f"{name}_{number}.JPEG").touch()
    return tmp_path


def pairs(tree, part):
    names, labels = read_list(tree / LISTS[part])
    return list(zip(names, labels, strict=True))


@pytest.mark.parametrize(("options", "source"), [([], "val"), (["--hold-out"], "train")])
def test_lists_have_every_image_with_the_label_of_its_class(tree, options, source):
    """The images to rank on are spread over the classes; held out, they are not trained on."""
    script = load_script("imagenet_lists")
    assert script.main([str(tree), "--count=8", *options]) == 0
    train, valid, test = (pairs(tree, part) for part in ("train", "valid", "test"))
    assert class_names(tree / "classes.txt") == ("n01", "n02", "n03")
    assert all(name.split("/")[1] == f"n0{label + 1}" for name, label in train + valid + test)
    assert (len(valid), len(test)) == (8, 12)
    assert {name.split("/")[0] for name, _ in valid} == {source}
    labels = [label for _, label in valid]
    assert sorted(map(labels.count, range(3))) == [2, 3, 3]
    assert len(train) == (27 if source == "val" else 19)
    assert set(train).isdisjoint(valid)
    before = (tree / "valid_part2500.txt").read_text()
    script.main([str(tree), "--count=8", *options])
    assert (tree / "valid_part2500.txt").read_text() == before


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tree: (tree / "val" / "n03").rename(tree / "val" / "n04"), "class n03 is in one of train and val only"),
        (lambda tree: [path.unlink() for path in (tree / "train" / "n02").iterdir()], "n02 has no images"),
        (lambda tree: (tree / "val").rename(tree / "valid"), "has no directories of classes"),
    ],
)
def test_a_tree_of_another_form_is_refused(tree, spoil, said):
    spoil(tree)
    with pytest.raises(SystemExit, match=said):
        load_script("imagenet_lists").main([str(tree)])
