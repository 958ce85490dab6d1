"""One-shot training as a command: what it leaves, how it goes on, what it refuses."""

import json
import os
import random
import re
import resource
from pathlib import Path

import pytest
import torch
from PIL import Image

from fewshot_nas import merge, report, search, test
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.models.checkpoint import load_supernet, save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import locked, write_text
from fewshot_nas.results.scores import LEADING
from fewshot_nas.space.pool import Entry, read_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.train_supernet import main
from fewshot_nas.training.loop import Loop

PX8 = SPACES["px8"]


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def records(directory):
    lines = (directory / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "time"} for line in lines]


def write_truth(workshop):
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    truth = {arch_id: Entry(70.0 + sum(arch[:4]), arch) for arch_id, arch in list(part.items())[:6]}
    write_arch_file(workshop / "json_file" / "digits" / "gt_arch30.json", PX8, truth)


def test_a_run_leaves_its_files(workshop, small, capsys):
    write_truth(workshop)
    assert main(["--save", "one", *small, "training.epochs=3"]) == 0
    out = workshop / "results" / "one"
    candidates = [path.name for path in out.glob("*_*.pth")]
    assert all(re.fullmatch(r"(\d\.\d{4}|epoch)_[012]\.pth", name) for name in candidates)
    assert {path.name for path in out.iterdir()} == {
        *("last.pth", "supernet.pth", "log.jsonl", "events", "config.yml", "manifest.json", ".lock"),
        *candidates,
    }
    *epochs, chosen = records(out)
    assert [record["epoch"] for record in epochs] == [0, 1, 2]
    assert chosen["chosen"]["file"] in candidates
    assert "within one standard error" in chosen["chosen"]["rule"]
    assert load_supernet(out / "supernet.pth").split.groups == 1
    assert (out / "supernet.pth").read_bytes() == (out / chosen["chosen"]["file"]).read_bytes()
    said = capsys.readouterr().out
    tau = r"tau by likelihood -?\d.\d+ \[.*\] of 6 archs, too few to tell \(proxies: depth 1.000, params "
    assert re.search(tau, said)
    names = re.search(r"loss: largest \d\S+, sampled1 \d\S+, sampled2 \d\S+, smallest \d\S+; top-1: largest ", said)
    assert names


def test_the_manifest_tells_what_a_run_depends_on(workshop, small):
    main(["--save", "one", *small, "--seed", "7"])
    manifest = json.loads((workshop / "results" / "one" / "manifest.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert manifest["data"]["train"]["images"] == 32
    assert len(manifest["data"]["train"]["fingerprint"]) == 16
    assert {"git_commit", "space", "settings", "processes"} <= manifest.keys()


def test_a_finished_run_is_left_alone(workshop, small, capsys):
    main(["--save", "one", *small])
    before = (workshop / "results" / "one" / "log.jsonl").read_bytes()
    main(["--save", "one", *small])
    assert "results/one/supernet.pth is there already; --no-resume trains it anew" in capsys.readouterr().out
    assert (workshop / "results" / "one" / "log.jsonl").read_bytes() == before


def test_without_resume_it_begins_anew(workshop, small):
    main(["--save", "one", *small])
    main(["--save", "one", *small, "--no-resume", "training.epochs=2"])
    assert [record.get("epoch") for record in records(workshop / "results" / "one")] == [0, 1, None]


HEAD = f"heads.{len(SPACES['px8'].places)}_0.linear.weight"


def test_what_and_whom_a_step_trains_changes_the_weights(workshop, small):
    changes = [
        "training.extremes=space",
        "training.distill=sandwich",
        "data.augmentation=none",
    ]
    found = []
    for number, change in enumerate(["training.digits=pool", *changes]):
        main([f"--save={number}", *small, change])
        found.append(weights(workshop / "results" / str(number) / "supernet.pth")[HEAD])
    assert not any(torch.equal(one, other) for place, one in enumerate(found) for other in found[:place])


def test_augmentation_is_for_training_alone(workshop, small):
    """Without learning, what is scored depends on the images for calibration and ranking only."""
    for recipe in ("photo", "none"):
        main([f"--save={recipe}", *small, "training.lr=0", f"data.augmentation={recipe}"])
    (photo, *_), (none, *_) = (records(workshop / "results" / recipe) for recipe in ("photo", "none"))
    assert photo[LEADING] == none[LEADING]
    assert photo["loss"] != none["loss"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("training.lr=0.2", "training.lr 0.1"),
        ("data.train_images=31", "data.train_images 32 \\(now 31\\), data.train.fingerprint"),
        ("run.seed=1", "run.seed 0"),
    ],
)
def test_other_settings_do_not_go_on_with_a_run(workshop, small, change, named):
    main(["--save", "one", *small, "training.lr=0.1"])
    with pytest.raises(InputError, match=f"results/one was begun with {named}.*--no-resume"):
        main(["--save", "one", *small, "training.lr=0.1", change])


def test_settings_of_other_commands_may_change(workshop, small, capsys):
    main(["--save", "one", *small])
    main(["--save", "one", *small, "few_shot.lr=0.5", "stand_alone.epochs=9", "run.checkpoint_steps=3"])
    assert "is there already" in capsys.readouterr().out


@pytest.mark.parametrize("chance", [0, *(pytest.param(chance, marks=pytest.mark.slow) for chance in range(1, 6))])
def test_a_killed_run_ends_as_an_unbroken_one(workshop, small, killed, kill_me, chance):
    """Bit by bit, with dropout and a ground truth; it is killed at two random steps of six."""
    write_truth(workshop)
    settings = [
        *small,
        "training.epochs=3",
        "training.dropout=0.2",
        "training.drop_connect=0.2",
        "evaluation.every_epochs=2",
    ]
    main(["--save", "unbroken", *settings])
    rng, step = random.Random(chance), 0
    for end in (5, 6):
        step = rng.randrange(step + 1, end)
        killed(lambda: main_until(step, kill_me, ["--save", "killed", *settings]))  # noqa: B023
    main(["--save", "killed", *settings])
    unbroken, resumed = (workshop / "results" / name for name in ("unbroken", "killed"))
    assert records(resumed) == records(unbroken)
    for name in ("supernet.pth", "last.pth"):
        mine, theirs = weights(resumed / name), weights(unbroken / name)
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def main_until(step, kill_me, argv):
    real = Loop._train_on
    Loop._train_on = lambda self, *batch: kill_me() if self.step == step else real(self, *batch)
    main(argv)


def test_ctrl_c_leaves_no_half_written_file(workshop, small, monkeypatch, capsys):
    main(["--save", "one", *small])
    before = weights(workshop / "results" / "one" / "last.pth")

    def interrupted(stream):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    more = ["--save", "one", *small, "--no-resume"]
    assert run(main, more) == 130
    monkeypatch.undo()
    monkeypatch.chdir(workshop)
    assert not list((workshop / "results" / "one").glob(".*[0-9a-f]"))
    assert not (workshop / "results" / "one" / "supernet.pth").exists()
    assert run(main, more) == 0
    after = weights(workshop / "results" / "one" / "last.pth")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(workshop, small, capsys):
    main(["--save", "one", *small])
    last = workshop / "results" / "one" / "last.pth"
    before, (soft, hard) = last.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        (last.parent / "supernet.pth").unlink()
        with pytest.raises(InputError, match=r"results/one/supernet.pth: cannot be written \(File too large\)"):
            main(["--save", "one", *small])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert last.read_bytes() == before
    assert not list(last.parent.glob(".*[0-9a-f]"))
    assert not (last.parent / "supernet.pth").exists()


@pytest.mark.dist
def test_three_ranks_train_what_one_trains_and_one_goes_on_with_it(workshop, small, ranks):
    """They share 16 images as 5, 5 and 6; norms and dropout are those of the whole batch."""
    more = [*small, "training.dropout=0.5", "training.drop_connect=0.5"]
    ranks(3, lambda: main(["--save", "three", *more]))
    main(["--save", "one", *more])
    out = workshop / "results" / "three"
    assert json.loads((out / "manifest.json").read_text())["processes"] == 3
    assert [record.get("epoch") for record in records(out)] == [0, None]
    found, expected = (weights(workshop / "results" / name / "last.pth") for name in ("three", "one"))
    # Norms of each process, or dropout of its own, would differ by a hundredth and more.
    assert all(float((found[key] - expected[key]).abs().max()) < 1e-4 for key in expected)
    assert main(["--save", "three", *more]) == 0


@pytest.mark.dist
def test_norms_of_each_rank_bind_a_run_to_their_number(workshop, small, ranks):
    more = [*small, "run.sync_norms=false"]
    ranks(2, lambda: main(["--save", "two", *more]))
    with pytest.raises(InputError, match=r"was begun with batch_shares 2 \(now 1\)"):
        main(["--save", "two", *more])


@pytest.mark.dist
def test_a_batch_that_ranks_cannot_share_is_refused_before_anything_is_written(workshop, small, ranks):
    def one_of_two():
        with pytest.raises(InputError, match=r"batch size .* is 1, expected at least one image for each of the 2"):
            main(["--save", "two", *small, "training.batch_size=1"])

    ranks(2, one_of_two)
    assert not (workshop / "results" / "two" / "manifest.json").exists()


def test_two_runs_of_one_name_are_kept_apart(workshop, small):
    with (
        locked(workshop / "results" / "one" / ".lock", wait=False),
        pytest.raises(InputError, match="another process is at work here"),
    ):
        main(["--save", "one", *small])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "toaster"], "--device is 'toaster', which cannot be used here"),
        (["training.batch_size=0"], "training.batch_size is 0, expected a whole number >= 1"),
        (["training.speed=3"], "training.speed is not a setting"),
        (["--seed=-1"], "run.seed is -1, expected a whole number >= 0"),
        (["--config", "none.yml"], "none.yml: cannot be read"),
        (
            ["data.name=lists", "data.root=nowhere", "space.in_channels=3"],
            r"\S+nowhere/train.txt: no such file; expected",
        ),
        (["data.name=folders", "data.root=nowhere"], r"\S+nowhere/train: no such directory; expected train/<class>/"),
        (["space.in_channels=3"], "the images of digits have 1 channels, but space px8 changed expects 3"),
        (
            ["--save", "data.txt"],
            "--save is 'data.txt', but results/data.txt is a file, expected a directory or nothing",
        ),
        (["--save", "data.txt/one"], "--save is 'data.txt/one', but results/data.txt is a file"),
        (["--save", "../out"], "--save is '../out', expected the name of a directory under results/"),
        (["space.resolution=2"], r"space.resolution is 2, expected at least 4, because the strides of space"),
        (["data.num_classes=3"], "digits: num_classes is 3, but the labels need 10"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(workshop, small, capsys, arguments, message):
    write_text(workshop / "results" / "data.txt", "a file")
    assert run(main, [*small, *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert re.match(f"error: {message}", lines[-1])


def test_a_batch_larger_than_the_data_is_said(workshop, small, capsys):
    main(["--save", "one", *small, "training.batch_size=64"])
    said = "training.batch_size is 64, but there are 32 training images: each step takes all"
    assert capsys.readouterr().out.count(said) == 1


def test_a_corrupt_image_is_named(workshop, small, capsys):
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (workshop / "data" / part / name).mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (9, 9), (number, 2, 3)).save(workshop / "data" / part / name / f"{number}.png")
    (workshop / "data" / "train" / "dog" / "5.png").write_bytes(b"\x89PNG no more")
    data = ["data.name=folders", "data.train_images=16", "data.valid_images=16", "space.in_channels=3"]
    assert run(main, ["--save", "one", *small, *data]) == 2
    assert "error: data/train/dog/5.png: cannot be decoded as an image" in capsys.readouterr().err


def test_a_diverging_run_names_the_arch_and_the_state(workshop, small, capsys):
    assert (
        run(main, ["--save", "one", *small, "training.epochs=4", "training.lr=1e30", "training.warmup_epochs=0"]) == 2
    )
    message = capsys.readouterr().err
    assert re.search(
        r"error: (the loss of the \w+ arch, 1[0-8]{51}, is (nan|inf)|weights are no longer finite)", message
    )


@pytest.mark.slow
def test_the_digits_are_learned_by_default(workshop):
    """One-shot with nothing but defaults; the largest subnet has at least 95 % after calibration."""
    main(["--save", "digits"])
    epochs = [record for record in records(workshop / "results" / "digits") if "top1" in record]
    assert epochs[-1]["top1"]["largest"] >= 95
    assert epochs[-1]["top1"]["smallest"] >= 85


@pytest.mark.dist
def test_processes_with_different_ground_truths_do_not_begin(workshop, small, ranks):
    """As on a network's disk, where one process sees a file later than another."""

    def one_of_two():
        truth = "json_file/none.json" if os.environ["RANK"] == "0" else "truth.json"
        with pytest.raises(InputError, match=r"process 1 sees \w+ .*, process 0 sees "):
            main(["--save", "two", *small, f"run.ground_truth={truth}"])

    write_arch_file(
        workshop / "truth.json", PX8, {"arch1": Entry(9.0, read_pool(Path("json_file/json8"), PX8)[0]["arch1"])}
    )
    ranks(2, one_of_two)
    assert not (workshop / "results" / "two" / "manifest.json").exists()


class Greedy:
    """A loss that asks torch for more memory than any machine has."""

    def backward(self, answers):
        return torch.empty(1 << 55)


def test_a_lack_of_memory_is_one_sentence_with_the_batch_and_a_remedy(workshop, small, capsys):
    assert run(main, ["--save=run", *small, "training.loss=tests.test_train_supernet:Greedy"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "memory ran out in training with batches of 16 images; lower the batch size, or" in said


def test_a_supernet_that_has_learned_nothing_is_said_to(workshop, small, capsys):
    """At the end of training, and by every command that ranks by it."""
    write_truth(workshop)
    assert main(["--save=run", *small, "training.lr=0", "data.valid_images=300"]) == 0
    warning = re.compile(
        r"warning: the mean top-1 of \d networks is \d+\.\d\d %, and naming one class for every image reaches up to 13"
    )
    assert len(warning.findall(capsys.readouterr().out)) == 1
    assert run(test.main, ["--save=run", "--json_part=1", "--limit=3"]) == 0
    assert run(merge.main, ["--save=run", "--epoch=0"]) == 0
    assert warning.search(capsys.readouterr().err)
    assert run(search.main, ["--save=run", "--method=random", "--budget=4", "--population=4", "--by=supernet"]) == 0
    assert warning.search(capsys.readouterr().out)
    assert run(report.main, ["--save=run"]) == 0
    assert warning.search((workshop / "results" / "run" / "report.html").read_text())


def test_a_supernet_starts_from_one_of_other_classes_and_goes_on_with_that_file_only(workshop, small, capsys):
    """The digest of the file counts, not its place; a supernet with groups is no start."""
    main(["--save", "one", *small])
    source = workshop / "results" / "one" / "supernet.pth"
    started = ["--save", "two", *small, "data.num_classes=12", "training.sampling=shrinking"]
    main([*started, f"training.start={source}", "training.lr=0"])
    assert "a supernet of this space; the classifier is new, for 12 classes in place of 10" in capsys.readouterr().out
    before, after = weights(source), weights(workshop / "results" / "two" / "supernet.pth")
    assert {name for name in after if not torch.equal(before[name], after[name])} == {
        name for name in after if ".linear." in name
    }
    elsewhere = source.rename(workshop / "elsewhere.pth")
    main([*started, f"training.start={elsewhere}", "training.lr=0"])
    assert "supernet.pth is there already" in capsys.readouterr().out
    for start, message in (("null", r"start\.sha256 .*\(now None\)"), ("none.pth", "none.pth: no such file")):
        with pytest.raises(InputError, match=message):
            main([*started, f"training.start={start}", "training.lr=0"])
    split = Supernet(by_width(load_supernet(elsewhere).space, 2), 10)
    save_supernet(elsewhere, split)
    with pytest.raises(InputError, match=r"start\.sha256 .*\(now "):
        main([*started, f"training.start={elsewhere}", "training.lr=0"])
    with pytest.raises(InputError, match=r"a supernet with 2 groups, expected 1"):
        main(["--save", "three", *small, f"training.start={elsewhere}"])


def test_a_plan_needs_no_images(workshop, small, capsys):
    """They are stood in for by as many as ImageNet has."""
    given = ["space.in_channels=3", "data.name=lists", "data.root=nowhere", "data.num_classes=10"]
    few = [each for each in small if not each.startswith("data.")]
    assert main(["--save=one", "--plan", *few, *given]) == 0
    said = capsys.readouterr().out
    assert "planned without images, as for ImageNet, so the time has no decoding in it" in said
    assert "lists, 1,281,167 training, 2,500 ranking, 50,000 test images, 10 classes" in said
    assert re.search(r"1 epochs of 80072 steps with 16 images, .*; [\d,]+ MB of memory for each process", said)
    assert not (workshop / "results").exists()


def test_a_training_takes_fair_draws(workshop, small):
    assert main(["--save=fair", *small, "training.sampling=fair"]) == 0
    assert (workshop / "results" / "fair" / "supernet.pth").exists()
