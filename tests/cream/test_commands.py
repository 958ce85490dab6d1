"""Search, retrain and test as commands: from nothing to a tested network, and what they refuse."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from PIL import Image

from fewshot_nas import export, train_stand_alone
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.cream import make_pool, retrain, search
from fewshot_nas.cream import test as testing
from fewshot_nas.cream.flops import budget_for
from fewshot_nas.cream.model import model_of, read_model
from fewshot_nas.cream.searching import SearchTask
from fewshot_nas.data import known
from fewshot_nas.data.sources import open_data
from fewshot_nas.training.loop import Loop

SMALL = ["IMAGE_SIZE=16", "BATCH_SIZE=8", "data.train_images=16", "data.valid_images=20"]
SEARCH = [*SMALL, "EPOCHS=2", "FLOPS_MAXIMUM=114", "META_STA_EPOCH=1", "UPDATE_ITER=1", "POOL_SIZE=2", "SLICE=2"]
SEARCH += ["CALIBRATION_IMAGES=16", "SHARED_EPOCHS=0", "BOARD=batch"]
REVIEW = [*SEARCH, "SHARED_EPOCHS=1", "BOARD=review", "REVIEWS=1", "REVIEW_PATHS=3", "data.train_images=32"]
TAUGHT = [
    *REVIEW,
    "EPOCHS=3",
    "REVIEWS=3",
    "UPDATE_ITER=3",
    "FINAL_STEPS=2",
]  # by boards of reviews, in every second step
SPACE = ["SPACE.stem_width=8", "SPACE.stem_stride=1", "SPACE.strides=[2,2,1,2,1]"]
RETRAIN = [*SMALL, "EPOCHS=1", "COOLDOWN_EPOCHS=1", "WARMUP_EPOCHS=0", "MODEL_SELECTION=14"]
TEST = ["IMAGE_SIZE=16", "MODEL_SELECTION=14"]
PATH = "[[0],[3],[1],[2],[0],[4],[0]]"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Where the commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path):
    return json.loads(path.read_text())


def records(directory):
    found = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "time"} for record in found]


def tensors(value):
    """All tensors of a state, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def assert_same_state(mine, theirs):
    mine, theirs = (tensors(torch.load(path, weights_only=True)) for path in (mine, theirs))
    assert len(mine) == len(theirs) > 0
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


def test_from_a_search_to_a_tested_network(here, capsys):
    assert search.main(["--save", "way", *SEARCH, *SPACE]) == 0
    found = here / "results" / "way" / "search" / "path.json"
    assert retrain.main(["--save", "way", "--from_search", str(found), *RETRAIN[:-1]]) == 0
    checkpoint = "results/way/retrain_arch/arch.pth.tar"
    capsys.readouterr()
    assert testing.main(["--from_search", str(found), f"RESUME_PATH={checkpoint}"]) == 0
    first, told = capsys.readouterr().out.splitlines()
    images = "digits, 16 training, 20 ranking, 300 test images, 10 classes; space of Cream, changed; cpu"
    assert first == f"network {checkpoint}; {images}"
    assert read(here / "results/way/retrain_arch/test.json")["images"] == 300
    model = read_model(found)
    cost = model.on(1).cost(model.arch, num_classes=10)
    assert model.space.strides == (2, 2, 1, 2, 1)
    assert re.fullmatch(
        rf"{re.escape(checkpoint)}: top-1 [\d.]+ %, top-5 [\d.]+ % of the 300 test images of digits at 16 px;"
        rf" {cost.params:,} params, {cost.macs:,} MACs",
        told,
    )
    export.main(["--model=results/way/retrain_arch/subnet.pth", "--out=exported.safetensors"])
    card = read(here / "exported.json")
    assert (card["code"], card["macs"], card["parameters"]) == (model.code, *cost)
    assert card["scores"]


def test_a_search_tells_its_path(here):
    search.main(["--save", "one", *SEARCH])
    content = read(here / "results" / "one" / "search" / "path.json")
    model = model_of(content["INPUT_ARCH"], 16)
    cost = model.on(1).cost(model.arch, num_classes=10)
    assert (content["macs"], content["params"]) == (cost.macs, cost.params)
    assert content["mflops"] <= 114
    assert 0 <= content["top1"] <= content["top5"] <= 100


def test_the_board_is_written_after_each_epoch(here):
    search.main(["--save", "one", *SEARCH])
    directory = here / "results" / "one" / "search"
    content = read(directory / "board.json")
    assert content["epoch"] == 1
    accuracies = [entry["batch_top1"] for entry in content["board"]]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(accuracies) == 2
    assert [record["board"]["paths"] for record in records(directory)] == [2, 2]
    assert read(directory / "path.json")["INPUT_ARCH"] == content["board"][0]["INPUT_ARCH"]


def test_a_review_fills_the_board_with_paths_of_one_measure(here):
    search.main(["--save", "one", *REVIEW])
    directory = here / "results" / "one" / "search"
    board = read(directory / "board.json")["board"]
    scores = [entry["held_prob"] for entry in board]
    assert len(board) == 2
    assert scores == sorted(scores, reverse=True)
    assert read(directory / "path.json")["held_prob"] == scores[0]
    assert [record["board"]["paths"] for record in records(directory)] == [
        0,
        2,
    ]  # shared weights, then a review


def test_the_last_board_s_paths_train_alone_before_the_best_is_chosen(here):
    search.main(["--save", "one", *REVIEW, "FINAL_STEPS=2"])
    directory = here / "results" / "one" / "search"
    found, board = read(directory / "path.json"), read(directory / "board.json")["board"]
    finals = {each["INPUT_ARCH"]: each["final_prob"] for each in found["finals"]}
    assert list(finals) == [entry["INPUT_ARCH"] for entry in board]
    assert finals[found["INPUT_ARCH"]] == found["final_prob"] == max(finals.values())
    assert {entry["INPUT_ARCH"]: entry["held_prob"] for entry in board}[found["INPUT_ARCH"]] == found["held_prob"]


@pytest.mark.parametrize("legacy", ["false", "true"])
def test_every_path_on_the_board_lies_within_the_bounds(here, legacy):
    search.main(["--save", "one", *SEARCH, "FLOPS_MINIMUM=60", "POOL_SIZE=9", f"LEGACY={legacy}"])
    budget = budget_for(60, 114, legacy=legacy == "true")
    board = read(here / "results" / "one" / "search" / "board.json")["board"]
    assert len(board) == 4
    found = [budget.space.decode(entry["INPUT_ARCH"]) for entry in board]
    assert all(budget.minimum <= budget.mflops(arch) <= budget.maximum for arch in found)


def die_at(step, main, argv):
    real = Loop._train_on
    Loop._train_on = lambda self, *batch: os.kill(os.getpid(), 9) if self.step == step else real(self, *batch)
    main(argv)


@pytest.mark.parametrize(
    ("step", "settings"),
    [(3, SEARCH), (3, REVIEW), (5, REVIEW), (7, TAUGHT)],
    ids=["batch", "inherits", "review", "taught"],
)
@pytest.mark.slow
def test_a_killed_search_ends_as_an_unbroken_one(here, killed, step, settings):
    """Bit by bit: supernet, momentum, matching network and its optimizer, board."""
    search.main(["--save", "unbroken", *settings])
    killed(lambda: die_at(step, search.main, ["--save", "killed", *settings, "run.checkpoint_steps=1"]))
    search.main(["--save", "killed", *settings])
    mine, theirs = (here / "results" / name / "search" for name in ("killed", "unbroken"))
    assert_same_state(mine / "last.pth", theirs / "last.pth")
    assert records(mine) == records(theirs)
    assert read(mine / "board.json") == read(theirs / "board.json")
    assert read(mine / "path.json") == read(theirs / "path.json")


@pytest.mark.parametrize("step", [1, 2])
def test_a_killed_retraining_ends_as_an_unbroken_one(here, killed, step):
    """Bit by bit, with dropout, RandAugment and erasing: weights, their average, the optimizer."""
    settings = [*RETRAIN, "AUTO_AUGMENT=rand-m9-mstd0.5", "ERASING=0.5"]
    retrain.main(["--save", "unbroken", *settings])
    killed(lambda: die_at(step, retrain.main, ["--save", "killed", *settings, "run.checkpoint_steps=1"]))
    retrain.main(["--save", "killed", *settings])
    mine, theirs = (here / "results" / name / "retrain_14" for name in ("killed", "unbroken"))
    assert_same_state(mine / "last.pth", theirs / "last.pth")
    assert_same_state(mine / "14.pth.tar", theirs / "14.pth.tar")


@pytest.mark.dist
def test_two_ranks_keep_the_same_board(here, ranks):
    """Each writes down what it has, not only the one that writes the files."""

    def one_of_two():
        boards, end_epoch = [], SearchTask.end_epoch
        SearchTask.end_epoch = lambda task, epoch: (end_epoch(task, epoch), boards.append(state(task)))[0]
        search.main(["--save", "two", *SEARCH, "BATCH_SIZE=8"])
        return boards

    def state(task):
        entries = [(entry.candidate, entry.accuracy) for entry in task.keeping.board.entries]
        drawn = [task.step.sampler.archs(step) for step in range(4)]
        parameters = [parameter.tolist() for parameter in task.step.teacher.matching.parameters()]
        return entries, drawn, parameters

    first, second = ranks(2, one_of_two)
    assert first == second
    assert len(first) == 2


@pytest.mark.dist
def test_two_ranks_test_as_one(here, ranks, capfd):
    retrain.main(["--save", "one", *RETRAIN])
    argv = [*TEST, "RESUME_PATH=results/one/retrain_14/14.pth.tar"]
    testing.main(argv)
    alone = capfd.readouterr().out.splitlines()[-1]
    ranks(2, lambda: testing.main(argv))
    assert capfd.readouterr().out.splitlines()[1:] == [alone]


def test_a_ground_truth_of_paths(here):
    """They are trained as the archs of other spaces, in a run of the search."""
    assert make_pool.main(["--size", "4", "--out", "pool.json", "FLOPS_MINIMUM=60"]) == 0
    search.main(["--save=one", *SEARCH, "run.pool=pool.json"])
    recipe = ["stand_alone.epochs=1", "stand_alone.warmup_epochs=0", "stand_alone.batch_size=8"]
    train_stand_alone.main(["--save=one", "--target_arch_num=2,4", *recipe])
    found, pool = (read(here / name) for name in ("results/one/gt_arch30.json", "pool.json"))
    assert {name: entry["arch"] for name, entry in found.items()} == {
        name: pool[name]["arch"] for name in ("arch2", "arch4")
    }


def test_what_is_finished_is_left_alone(here, capsys):
    for main, settings, result in (
        (search.main, SEARCH, "search/path.json"),
        (retrain.main, RETRAIN, "retrain_14/14.pth.tar"),
    ):
        main(["--save", "one", *settings])
        before = (here / "results" / "one" / result).read_bytes()
        capsys.readouterr()
        main(["--save", "one", *settings])
        assert f"results/one/{result} is there already" in capsys.readouterr().out
        assert (here / "results" / "one" / result).read_bytes() == before


def test_other_settings_do_not_go_on_with_a_run(here):
    search.main(["--save", "one", *SEARCH])
    with pytest.raises(InputError, match=r"search was begun with SLICE 2 \(now 3\); .*--no-resume"):
        search.main(["--save", "one", *SEARCH, "SLICE=3"])
    search.main(["--save", "one", *SEARCH, "data.workers=1"])


SHARED = """
space: {preset: px28, resolution: 16}
data: {train_images: 16, valid_images: 20}
training: {epochs: 3}
run: {seed: 3, ground_truth: truth.json, pool: pools}
"""


def test_one_file_serves_both_systems(here, capsys):
    """What only the other commands take is checked all the same."""
    (here / "mine.yml").write_text(SHARED)
    words = [word for word in RETRAIN if not word.startswith("data.")]
    assert run(retrain.main, ["--save=c", "--config=mine.yml", *words]) == 0
    manifest = read(here / "results" / "c" / "retrain_14" / "manifest.json")
    assert (manifest["seed"], manifest["data"]["train"]["images"]) == (3, 16)
    assert run(make_pool.main, ["--config=mine.yml", "--size=1", "--out=pool.json", "FLOPS_MAXIMUM=114"]) == 0
    (here / "mine.yml").write_text(SHARED.replace("epochs: 3", "epoch: 3"))
    assert run(retrain.main, ["--save=c", "--config=mine.yml", *words]) == 2
    assert "mine.yml: training.epoch is not a setting" in capsys.readouterr().err


def test_a_test_takes_data_and_model_of_the_retraining(here, capsys):
    """Without them it scored the digits, at the published size."""
    if not known.DEBIAN_DIRECTORY.is_dir():
        pytest.skip(f"needs the Debian package {known.DEBIAN_PACKAGE}")
    assert run(retrain.main, ["--save=c", *RETRAIN, "data.name=fashion_mnist", "data.root=nowhere"]) == 0
    said = capsys.readouterr().out
    assert "1 epochs, and 1 more at the rate MIN_LR (COOLDOWN_EPOCHS)" in said
    assert "EMA_DECAY is 0.95: after 4 steps 81 % of the averaged weights, which are the result, are those" in said
    assert run(testing.main, ["RESUME_PATH=results/c/retrain_14/14.pth.tar"]) == 0
    assert "test images of fashion_mnist at 16 px" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "settings"), [(search.main, REVIEW), (retrain.main, RETRAIN)])
def test_a_plan_trains_for_nothing(here, capsys, command, settings):
    assert run(command, ["--save=one", "--plan", *settings]) == 0
    assert re.search(r"2 epochs of \d steps with 8 images, \d steps; \S+ multiply-adds", capsys.readouterr().out)
    assert list(here.iterdir()) == []


def test_another_path_does_not_go_on_with_a_retraining(here, capsys):
    settings = [*RETRAIN, "MODEL_SELECTION=-1"]
    retrain.main(["--save", "one", *settings, f"INPUT_ARCH={PATH}"])
    said = "stages 1, 2, 3, 4, 5 of INPUT_ARCH, of one block, built as written"
    assert capsys.readouterr().out.count(said) == 1
    with pytest.raises(InputError, match="retrain_arch was begun with"):
        retrain.main(["--save", "one", *settings, f"INPUT_ARCH={PATH.replace('3', '5')}"])


def test_the_averaged_weights_are_what_is_tested(here, capsys):
    retrain.main(["--save", "one", *RETRAIN])
    file = here / "results" / "one" / "retrain_14" / "14.pth.tar"
    content = torch.load(file, weights_only=True)
    for weights, answer in (("state_dict", 5), ("state_dict_ema", 3)):
        content[weights]["classifier.bias"][answer] = 1e6
    torch.save(content, file)
    capsys.readouterr()
    testing.main([*TEST, f"RESUME_PATH={file}", "BATCH_SIZE=299"])  # the last image alone: in evaluation mode it may be
    threes = (open_data("digits", here).test.labels == 3).double().mean().item()
    assert f"top-1 {100 * threes:.2f} %" in capsys.readouterr().out


def test_the_average_differs_from_the_weights(here):
    retrain.main(["--save", "one", *RETRAIN, "EMA_DECAY=0"])
    retrain.main(["--save", "two", *RETRAIN, "EMA_DECAY=0.5"])
    one, two = (torch.load(f"results/{name}/retrain_14/14.pth.tar", weights_only=True) for name in ("one", "two"))
    name = "conv_stem.weight"
    assert torch.equal(one["state_dict_ema"][name], one["state_dict"][name])
    assert torch.equal(one["state_dict"][name], two["state_dict"][name])
    assert not torch.equal(two["state_dict_ema"][name], two["state_dict"][name])


def test_a_network_is_not_tested_on_other_classes(here):
    retrain.main(["--save", "one", *RETRAIN])
    path = here / "results/one/retrain_14/14.pth.tar"
    content = torch.load(path, weights_only=True)
    assert content["trained_on"]["classes"] == list("0123456789")
    content["trained_on"]["classes"] = list("1023456789")
    torch.save(content, path)
    with pytest.raises(
        InputError, match=r"14\.pth\.tar was trained with data\.classes \['1', '0', .* \(now \['0', '1',"
    ):
        testing.main([f"RESUME_PATH={path}"])


def test_a_checkpoint_of_another_model_is_refused(here):
    retrain.main(["--save", "one", *RETRAIN])
    argv = ["IMAGE_SIZE=16", "MODEL_SELECTION=43", "RESUME_PATH=results/one/retrain_14/14.pth.tar"]
    with pytest.raises(InputError, match=r"14.pth.tar: holds a network with INPUT_ARCH .* MODEL_SELECTION"):
        testing.main(argv)


@pytest.mark.parametrize(
    ("main", "argv", "message"),
    [
        (search.main, ["FLOPS_MINIMUM=5000", "FLOPS_MAXIMUM=6000"], "FLOPS_MINIMUM or FLOPS_MAXIMUM"),
        (search.main, ["FLOPS_MAXIMUM=1"], "FLOPS_MAXIMUM is too small for any network"),
        (search.main, ["BATCH_SIZE=7"], "a process has batches of 7 images, expected at least 8 for SLICE=4; change"),
        (
            search.main,
            ["HELD_IMAGES=2"],
            "only 2 images are held out for reviews, expected at least 4 for SLICE=4; raise",
        ),
        (search.main, ["data.train_images=31", "BATCH_SIZE=8"], "only 3 images are held out for reviews"),
        (search.main, ["EPOCHS=2", "SHARED_EPOCHS=2"], "SHARED_EPOCHS is 2, expected less than EPOCHS, which is 2"),
        (make_pool.main, ["--out=x.json", "FLOPS_MAXIMUM=1"], "FLOPS_MAXIMUM is too small for any network"),
        (search.main, ["data.name=nowhere"], "data.name is 'nowhere'"),
        (search.main, ["FLOPS=3"], "FLOPS is not a setting"),
        (retrain.main, ["MODEL_SELECTION=113"], "MODEL_SELECTION is 113, expected one of"),
        (retrain.main, ["AUTO_AUGMENT=best"], "AUTO_AUGMENT is 'best', expected one such as"),
        (retrain.main, ["--from_search", "none.json"], "none.json: no such file"),
        (retrain.main, ["--from_search", "x.json", "MODEL_SELECTION=43"], "--from_search both select a model"),
        (testing.main, [], "RESUME_PATH is not given"),
        (testing.main, ["RESUME_PATH=none.pth.tar"], "none.pth.tar: no such file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(here, capsys, main, argv, message):
    assert run(main, argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("main", "mistake"),
    [
        (search.main, "BATCH_SIZE=7"),
        (search.main, "FLOPS_MINIMUM=113.9999999"),
        (retrain.main, "AUTO_AUGMENT=best"),
    ],
)
def test_a_mistake_is_not_what_a_run_was_begun_with(here, main, mistake):
    """Else the mended settings would be refused as changed ones."""
    assert run(main, ["--save", "one", mistake]) == 2
    assert not list(here.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is not the result of a search"),
        ('{"INPUT_ARCH": "[[0],[9],[0]]", "resolution": 32}', "INPUT_ARCH: code"),
        (f'{{"INPUT_ARCH": "{PATH}"}}', "is not the result of a search"),
        ('{"INPUT_ARCH": [[0]], "resolution": 32}', "is not the result of a search"),
    ],
)
def test_a_file_that_is_no_search_is_refused(here, content, message):
    (here / "path.json").write_text(content)
    with pytest.raises(InputError, match=f"^path.json: {message}"):
        retrain.main(["--from_search", "path.json"])


@pytest.mark.parametrize("command", ["make_pool", "search", "retrain", "test"])
def test_a_command_is_understood_before_torch_is_imported(command):
    probe = f"import sys, fewshot_nas.cream.{command}; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)


def write_photos(root):
    """Twelve noisy images of two classes."""
    pixels = torch.randint(256, (12, 70, 80, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    for number, image in enumerate(pixels):
        path = root / ("train" if number < 8 else "val") / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def test_photos_are_trained_on_and_tested_at_the_models_size(here, capsys):
    write_photos(here / "photos")
    data = ["data.name=folders", "data.root=photos", "IMAGE_SIZE=0", "MODEL_SELECTION=14", "BATCH_SIZE=4"]
    more = ["EPOCHS=1", "COOLDOWN_EPOCHS=0", "AUTO_AUGMENT=rand-m9-mstd0.5", "ERASING=0.2"]
    retrain.main(["--save", "one", *data, *more])
    testing.main([*data, "RESUME_PATH=results/one/retrain_14/14.pth.tar"])
    assert "of the 4 test images of folders at 64 px" in capsys.readouterr().out
