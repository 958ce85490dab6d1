"""A network stays with its classes, its images, its settings and its run: whatever differs is refused by name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fewshot_nas
from fewshot_nas.__main__ import main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.models.checkpoint import load_supernet, read_checkpoint
from fewshot_nas.records.files import read_json, sha256
from fewshot_nas.results.merging import write_merged
from fewshot_nas.results.run import found_directory
from fewshot_nas.results.scores import LEADING, Scored
from fewshot_nas.space.pool import Entry, make_pool, write_arch_file

CLASSES = ("cat", "frog", "ship")
IMAGES = ("data.name=folders", "data.root=set")
SPACE = ("space.preset=px8", "space.base_widths=[4,6,10,20]", "space.in_channels=3")
SHORT = ("evaluation.calibration_images=16", "training.batch_size=8", "finetune.epochs=1", "finetune.batch_size=8")
BEGUN = ["--save=run", *IMAGES, *SPACE, *SHORT, "training.epochs=1", "run.pool=pool", "run.ground_truth=truth.json"]


def draw(root, classes=CLASSES):
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")


@pytest.fixture(scope="module")
def _trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("identity")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        draw(place / "set")
        assert main(["train_supernet", *BEGUN]) == 0
        space = load_supernet(Path("results/run/supernet.pth")).space
        pool = make_pool(space, seed=0, size=30)
        write_arch_file(Path("pool/part1.json"), space, {key: Entry(0.0, arch) for key, arch in pool.items()})
        truth = {key: Entry(50.0 + place, arch) for place, (key, arch) in enumerate(list(pool.items())[:12])}
        write_arch_file(Path("truth.json"), space, truth)
    return place


@pytest.fixture
def trained(_trained, tmp_path, monkeypatch):
    """A run whose supernet was trained on three classes; the code of one of its archs."""
    shutil.copytree(_trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    space = load_supernet(Path("results/run/supernet.pth")).space
    return space.encode(space.extreme(space.pool_options, largest=False))


def refused(capsys, *arguments):
    """The sentence of a command that ends with status 2."""
    capsys.readouterr()
    with pytest.raises(InputError) as caught:
        main(list(arguments))
    return str(caught.value)


def scoring(code):
    """Commands that open images for a network that is there already."""
    return {
        "test": ["--save=run", f"--arch={code}"],
        "search": ["--save=run", "--max=macs=99G", "--budget=4", "--population=2", "--method=random"],
        "export": ["--model=results/run/supernet.pth", f"--arch={code}", "--out=x.pt"],
        "choose": ["--save=run"],
        "finetune": ["--save=run", f"--arch={code}"],
        "train_few_shot": ["--save=run", "--group_nums=2"],
    }


def test_a_renamed_class_is_refused_by_every_command(trained, capsys):
    for part in ("train", "val"):
        Path("set", part, "ship").rename(Path("set", part, "boat"))
    for command, arguments in scoring(trained).items():
        said = refused(capsys, command, *arguments)
        assert "['cat', 'frog', 'ship'] (now ['boat', 'cat', 'frog'])" in said, command
    with pytest.raises(InputError, match=r"data\.classes"):
        fewshot_nas.score("results/run/supernet.pth", [trained])
    parent = ["--save=new", "--group_nums=2", "--pretrained_path=results/run/supernet.pth"]  # of another run
    assert "results/run/supernet.pth was trained with data.classes" in refused(capsys, "train_few_shot", *parent)
    assert main(["export", *scoring(trained)["export"], "--no-calibrate"]) == 0
    assert read_json(Path("x.json"))["classes"] == list(CLASSES)


def test_a_network_that_was_trained_alone_keeps_its_classes_too(trained, capsys):
    assert main(["finetune", *scoring(trained)["finetune"]]) == 0
    (subnet,) = Path("results/run/finetune").glob("*/subnet.pth")
    assert read_checkpoint(subnet)["trained_on"]["classes"] == list(CLASSES)
    Path("alone").mkdir()
    shutil.copy(subnet, "alone/subnet.pth")
    for part in ("train", "val"):
        Path("set", part, "cat").rename(Path("set", part, "zebra"))
    said = refused(capsys, "export", "--model=alone/subnet.pth", "--out=x.pt", *IMAGES, *SPACE)
    other = refused(capsys, "export", "--model=alone/subnet.pth", "--out=x.pt", "data.name=digits", *SPACE)
    assert "alone/subnet.pth was made with data.name folders (now digits)" in other
    assert (
        "alone/subnet.pth was trained with data.classes ['cat', 'frog', 'ship'] (now ['frog', 'ship', 'zebra'])" in said
    )


def test_ranking_images_that_are_trained_on_are_said_by_every_command(trained, capsys):
    """They may have been put there after the training, as ranking images may be chosen anew."""
    shutil.copy(next(Path("set/train/cat").glob("*.png")), "set/val/cat/copy.png")
    assert main(["test", *scoring(trained)["test"]]) == 0
    assert " ranking images is a training image too" in capsys.readouterr().out


def test_classes_of_lists_have_the_names_beside_them_or_none(trained, capsys):
    """Without names, permuted labels show in the fingerprint of the training images."""
    shown = {part: sorted(Path("set", part).rglob("*.png")) for part in ("train", "val")}

    def write(order):
        for name, part in (("train", "train"), ("valid_part2500", "val"), ("valid", "val")):
            lines = (f"{path.relative_to('set')} {order.index(path.parent.name)}" for path in shown[part])
            Path("set", f"{name}.txt").write_text("\n".join(lines))

    write(CLASSES)
    lists = ["--save=lists", "data.name=lists", *(each for each in BEGUN[1:] if each != IMAGES[0])]
    lists += ["data.augmentation=none"]
    export = ["export", "--model=results/lists/supernet.pth", f"--arch={trained}", "--out=lists.pt"]
    assert main(["train_supernet", *lists]) == 0
    assert main(export) == 0
    assert read_json(Path("lists.json"))["classes"] is None
    Path("set/classes.txt").write_text("cat\nfrog\n")
    assert "classes.txt: has 2 names, but the labels go up to 2" in refused(capsys, *export)
    Path("set/classes.txt").write_text("cat\nfrog\ncat\n")
    assert "classes.txt: line 3 repeats cat, which line 1 has; expected the name of class 2" in refused(capsys, *export)
    Path("set/classes.txt").write_text("cat\nfrog\nship\n")
    assert main([*export, "--out=named.pt"]) == 0
    assert read_json(Path("named.json"))["classes"] == list(CLASSES)
    Path("set/classes.txt").unlink()
    write(("frog", "cat", "ship"))
    assert "was trained with data.train.fingerprint" in refused(capsys, *export)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("space.resolution=16", "space.resolution 8 (now 16)"),
        ("space.preset=px28", "space.preset px8 (now px28)"),
        ("space.depths=[[1,2],[1,2],[1,2],[1,2]]", "space.depths [[2, 5]"),
        ("data.num_classes=7", "data.num_classes 3 (now 7)"),
        ("data.augmentation=none", "data.augmentation None (now none)"),
        ("data.name=digits", "data.name folders (now digits)"),
        ("training.lr=1", "uses no settings of training"),
    ],
)
def test_a_setting_that_is_fixed_is_refused_by_every_command(trained, capsys, setting, named):
    commands = {name: given for name, given in scoring(trained).items() if name not in ("finetune", "train_few_shot")}
    commands |= {"rank": ["--save=run"], "latency": ["--save=run"], "report": ["--save=run"]}
    commands |= {"test": ["--save=run", "--plan", "--json_part=1"]}
    commands["export"] = [*commands["export"], "--no-calibrate"]
    for command, arguments in commands.items():
        assert named in refused(capsys, command, *arguments, setting), command
    for command in ("rank", "report", "latency"):
        assert f"{command} uses no settings of evaluation" in refused(
            capsys, command, "--save=run", "evaluation.memory_mb=1"
        )
    if "training" not in setting:
        shutil.rmtree("elsewhere", ignore_errors=True)
        Path("elsewhere").mkdir()
        shutil.copy("results/run/supernet.pth", "elsewhere/supernet.pth")  # the file alone fixes space and classes
        if "data.name" not in setting and "augmentation" not in setting:
            alone = ["--model=elsewhere/supernet.pth", f"--arch={trained}", "--no-calibrate", setting]
            assert f"elsewhere/supernet.pth was made with {named}" in refused(capsys, "export", *alone)


def test_a_card_is_of_one_network(trained, capsys):
    pytest.importorskip("safetensors")
    export = ["export", "--model=results/run/supernet.pth", "--no-calibrate"]
    space = load_supernet(Path("results/run/supernet.pth")).space
    other = space.encode(next(iter(make_pool(space, seed=3, size=1).values())))
    assert main([*export, f"--arch={trained}", "--out=x.pt"]) == 0
    said = refused(capsys, *export, f"--arch={other}", "--out=x.safetensors")
    assert f"x.json: is the card of x.pt, with code {trained} (now {other})" in said
    assert not Path("x.safetensors").exists()
    assert main([*export, f"--arch={trained}", "--out=x.safetensors"]) == 0
    assert set(read_json(Path("x.json"))["files"]) == {"x.pt", "x.safetensors"}
    calibrated = [each for each in export if each != "--no-calibrate"]
    assert "x.json: is the card of x.pt, with" in refused(
        capsys, *calibrated, f"--arch={trained}", "--out=x.safetensors"
    )
    Path("x.pt").unlink()
    assert main([*export, f"--arch={other}", "--out=x.safetensors"]) == 0
    assert set(read_json(Path("x.json"))["files"]) == {"x.safetensors"}
    Path("mine.json").write_text('{"not": "a card"}')
    assert "mine.json: is no card" in refused(capsys, *export, f"--arch={other}", "--out=mine.pt")


def rank_by_places(scores):
    """Merged scores of the whole pool."""
    space = load_supernet(Path("results/run/supernet.pth")).space
    known = {"space": space.values(), "num_classes": 3, "checkpoint_sha256": sha256(Path("results/run/supernet.pth"))}
    codes = {key: each["arch"] for key, each in read_json(Path("pool/part1.json")).items()}
    write_merged(scores, LEADING, {key: Scored(float(place), codes[key]) for place, key in enumerate(codes)}, known)


def test_a_run_that_was_moved_goes_on(trained, capsys):
    """Its digests are equal; its place, and the pool's, are no part of what scores depend on."""
    scored = ["--json_part=1", "--limit=3"]
    search = ["--max=macs=99G", "--budget=4", "--population=2", "--method=random", "--by=supernet", "--name=found"]
    assert main(["test", "--save=run", *scored]) == 0
    assert main(["search", "--save=run", *search]) == 0
    rank_by_places(Path("results/run/json_results/epoch7"))
    shutil.copy("truth.json", "results/run/gt_arch30.json")
    ranked = ["run.ground_truth=null"]
    assert main(["rank", "--save=run", *ranked]) == 0
    by_ranker = [*search[:-2], "--name=ranked", "--by=ranker"]
    assert main(["search", "--save=run", *by_ranker]) == 0
    Path("results/run").rename("results/moved")
    Path("pool").rename("archs")
    capsys.readouterr()
    assert main(["test", "--save=moved", *scored, "run.pool=archs"]) == 0
    assert "are there already" in capsys.readouterr().out
    assert main(["search", "--save=moved", *search]) == 0
    assert main(["search", "--save=moved", *by_ranker]) == 0
    found = found_directory("moved", "found").found
    assert read_json(found)["checkpoint"] == "supernet.pth"
    assert main(["finetune", "--save=moved", f"--from_search={found}"]) == 0


def test_every_command_begins_with_what_it_works_on(trained, capsys, monkeypatch):
    images = "folders, 24 training, 12 ranking, 12 test images, 3 classes; space px8 changed; cpu"
    read = "folders, 24 training, 12 ranking images, 3 classes; space px8 changed"
    code = trained
    commands = scoring(code) | {"report": ["--save=run"], "make_pool": ["--check=pool", *SPACE]}
    begun = {
        "test": f"run results/run, supernet.pth; {images}",
        "search": f"run results/run, supernet.pth; {images}",
        "export": f"network {code} of results/run/supernet.pth; {images}",
        "choose": f"run results/run (choosing anew); {images}",
        "finetune": f"run results/run (continued); {images}",
        "train_few_shot": f"run results/run (continued); {images}",
        "report": f"run results/run; {read}",
        "make_pool": "pool pool; space px8 changed",
    }
    for command, arguments in commands.items():
        capsys.readouterr()
        assert main([command, *arguments]) == 0
        assert capsys.readouterr().out.splitlines()[0] == begun[command], command
    capsys.readouterr()
    monkeypatch.setattr("fewshot_nas.training.loop.Loop.run", lambda self: self.task.end_epoch(0))
    assert main(["train_supernet", *BEGUN[1:], "--save=run", "--no-resume"]) == 0
    assert capsys.readouterr().out.startswith("run results/run (this training anew); folders, 24 training")


@pytest.mark.parametrize(
    ("config", "more", "origin"),
    [
        ([], [], "no --config, so the default settings, on small digits); digits, 1,197"),
        ([], [*IMAGES, SPACE[-1]], "no --config, so the default settings and those of the command line); folders, 24"),
        (["--config=mine.yml"], [], "settings of mine.yml); folders, 24 training"),
    ],
)
def test_a_new_run_says_where_its_settings_come_from(trained, capsys, monkeypatch, config, more, origin):
    Path("mine.yml").write_text("data: {name: folders, root: set}\nspace: {in_channels: 3}")

    def stop(loop):
        raise InputError("far enough")

    monkeypatch.setattr("fewshot_nas.training.loop.Loop.run", stop)
    refused(capsys, "train_supernet", "--save=rnu", *config, *more)
    said = capsys.readouterr().out
    assert said.startswith(f"run {Path('results/rnu').absolute()} (new; {origin}")


def test_a_hint_repeats_the_options_that_matter(trained, capsys, calls_of_hints):
    Path("mine.yml").write_text("data: {name: folders, root: set}")
    given = ["--save=rnu", "--config=mine.yml", "space.in_channels=3", "run.pool=pool"]
    for command, more, hinted in (
        ("test", [], "train_supernet"),
        ("search", ["--max=macs=1G"], "train_supernet"),
        ("report", [], "train_supernet"),
        ("rank", [], "test"),
        ("train_few_shot", ["--group_nums=2", "--seed=3", "few_shot.lr=1"], "train_supernet"),
    ):
        ((hint, *arguments),) = calls_of_hints(refused(capsys, command, *given, *more))
        assert hint == hinted
        assert {"--save=rnu", "--config=mine.yml", "space.in_channels=3", "run.pool=pool"} <= set(arguments)
        assert ({"run.seed=3", "few_shot.lr=1"} <= set(arguments)) == (command == "train_few_shot")


@pytest.mark.slow
def test_latencies_measured_before_a_run_are_of_its_classes(trained, capsys, monkeypatch):
    monkeypatch.setattr("fewshot_nas.timing.measuring.TURN_S", 0.0)
    monkeypatch.setattr("fewshot_nas.timing.measuring.LEAST_RUNS", 1)
    Path("results").rename("kept")
    assert main(["latency", "--save=run", "--rounds=1", *IMAGES, *SPACE]) == 0
    (path,) = Path("results/run/latency").glob("*.json")
    assert read_json(path)["num_classes"] == len(CLASSES)
    shutil.copytree("kept", "results", dirs_exist_ok=True)
    search = ["search", "--save=run", "--max=latency=9s", "--budget=4", "--population=2", "--method=random"]
    assert main(search) == 0


def test_a_network_that_is_not_there_yet_has_the_classes_of_its_images(trained, capsys):
    said = refused(capsys, "latency", "--save=rnu", IMAGES[0], "data.root=nowhere", *SPACE)
    assert "nowhere/train: no such directory" in said
