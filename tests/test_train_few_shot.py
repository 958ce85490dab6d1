"""Few-shot phases as a command: the order of phases, parents, and those it refuses."""

import json

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.models.checkpoint import load_supernet, save_supernet
from fewshot_nas.models.subnet import inherit
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import sha256
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width
from fewshot_nas.train_few_shot import main
from fewshot_nas.train_supernet import main as train_supernet


@pytest.fixture
def trained(workshop, small):
    """The directory of a run whose one-shot supernet is trained."""
    train_supernet(["--save", "one", *small])
    return workshop / "results" / "one"


def test_phases_follow_one_another(trained, small, capsys):
    main(["--group_nums=2", "--pretrained_path=results/one/supernet.pth", "--save=one", *small])
    main(["--phase=3_from_2", "--split_model_path=results/one/2/supernet.pth", "--save=one", *small])
    main(["--group_nums=7", "--save", "one", *small])
    assert "phase 7_from_3: 7 groups, split from results/one/3_from_2/supernet.pth" in capsys.readouterr().out
    parents = {"2": "supernet.pth", "3_from_2": "2/supernet.pth", "7_from_3": "3_from_2/supernet.pth"}
    for phase, parent in parents.items():
        assert load_supernet(trained / phase / "supernet.pth").split.groups == int(phase[0])
        manifest = json.loads((trained / phase / "manifest.json").read_text())
        assert manifest["parent"]["sha256"] == sha256(trained / parent)


def test_without_settings_a_phase_takes_those_of_its_run(trained, small):
    """Also where another run's supernet is split."""
    main(["--group_nums=2", "--save=one", "few_shot.epochs=1"])
    main(["--group_nums=2", "--save=two", "--pretrained_path=results/one/supernet.pth", "few_shot.epochs=1"])
    for save in ("one", "two"):
        manifest = json.loads((trained.parent / save / "2" / "manifest.json").read_text())
        assert manifest["space"]["base_widths"] == [4, 6, 10, 20]
        assert manifest["data"]["train"]["images"] == 32


def test_data_that_differ_from_the_run_s_are_named(trained, small):
    with pytest.raises(InputError) as caught:
        main(["--group_nums=2", "--save=one", "data.valid_images=30", "data.train_images=40", "few_shot.epochs=1"])
    said = str(caught.value)
    assert "data.train.images 32 (now 40)" in said
    assert len(said) < 400
    assert not (trained / "2" / "manifest.json").exists()


def test_a_phase_starts_as_its_parent(trained, small):
    """With a learning rate of 0 the child's weights are the parent's leading slices."""
    main(["--group_nums=2", "--save=one", *small, "few_shot.lr=0"])
    parent, child = load_supernet(trained / "supernet.pth"), load_supernet(trained / "2" / "supernet.pth")
    for home in child.split.homes:
        theirs = dict(parent.stored(child.split.parent_home(parent.split, home)).named_parameters())
        for name, mine in child.stored(home).named_parameters():
            assert torch.equal(mine, theirs[name][tuple(map(slice, mine.shape))])


def test_a_supernet_is_trained_on_as_it_is(trained, small, capsys):
    """What a split is worth shows beside its parent, trained on for as long."""
    main(["--split_by=none", "--save=one", *small, "few_shot.lr=0"])
    assert "phase on: " in capsys.readouterr().out
    parent, child = load_supernet(trained / "supernet.pth"), load_supernet(trained / "on" / "supernet.pth")
    assert child.split == parent.split
    assert all(torch.equal(*pair) for pair in zip(parent.parameters(), child.parameters(), strict=True))


def test_a_supernet_is_split_by_a_choice(trained, small):
    main(["--split_by=choice", "--slots=0 out, 1 depth", "--save=one", *small, "few_shot.epochs=1"])
    child = load_supernet(trained / "choice0out1depth" / "supernet.pth")
    assert set(child.split.counts()) == {7 * 4}  # output widths of the first stage, depths of the second


def head(supernet, group):
    """The classifier of a group."""
    return supernet.stored((len(supernet.space.places), group)).linear


def test_learning_rates_differ_by_group(trained, small):
    main(["--group_nums=2", "--save=one", *small])
    main(
        [
            "--group_nums=2",
            "--save=two",
            "--pretrained_path=results/one/supernet.pth",
            *small,
            "few_shot.lr_multipliers=none",
        ]
    )
    one, two = (load_supernet(trained.parent / save / "2" / "supernet.pth") for save in ("one", "two"))
    assert not torch.equal(head(one, 0).weight, head(two, 0).weight)  # both steps reach the narrow widths


@pytest.mark.parametrize(("extremes", "moved"), [("space", {0, 6}), ("outs", set(range(7)))])
def test_drawn_extremes_train_the_groups_between(trained, small, extremes, moved):
    alone = ["few_shot.random_subnets=0", "few_shot.epochs=6", f"few_shot.extremes={extremes}"]
    alone += ["evaluation.every_epochs=6"]
    main(["--group_nums=7", "--save=one", *small, *alone])
    parent, child = load_supernet(trained / "supernet.pth"), load_supernet(trained / "7" / "supernet.pth")
    inherited = inherit(parent, by_width(parent.space, 7))
    assert {
        group for group in range(7) if not torch.equal(head(inherited, group).bias, head(child, group).bias)
    } == moved


def test_the_last_phase_with_fewer_groups_is_the_parent(trained, small, capsys):
    main(["--group_nums=4", "--save=one", *small])
    main(["--group_nums=3", "--save=one", *small])
    assert "phase 3: 3 groups, split from results/one/supernet.pth" in capsys.readouterr().out


def test_another_parent_does_not_go_on_with_a_phase(trained, small):
    main(["--group_nums=2", "--save=one", *small])
    train_supernet(["--save", "one", *small, "--no-resume", "--seed=5"])
    with pytest.raises(
        InputError, match=r"results/one/2 was begun with .*parent.sha256 \w+... \(now \w+...\).*--no-resume"
    ):
        main(["--group_nums=2", "--save=one", *small])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--phase=mine"], "--phase is 'mine', expected 2..7 groups"),
        (["--phase=3_from_2", "--resumed_split_groups=1"], "--phase is '3_from_2', but --resumed_split_groups 1"),
        (["--group_nums=1"], "is 1, expected 2..7 groups"),
        ([], "expected --group_nums for a split by width, and only there"),
        (["--split_by=none", "--group_nums=2"], "expected --group_nums for a split by width, and only there"),
        (["--split_by=choice"], "expected --slots for --split_by=choice"),
        (["--group_nums=2", "--slots=0 out"], "expected --slots for --split_by=choice"),
        (["--split_by=choice", "--slots=1 mid 9"], "slot '1 mid 9' is not one to split by, expected one of 0 depth, "),
        (["--group_nums=8"], "is 8, expected 2..7 groups"),
        (
            ["--group_nums=3", "--resumed_split_groups=2"],
            "results/one: no finished phase with 2 groups; `python -m fewshot_nas.train_supernet --save=one",
        ),
        (["--group_nums=2", "--save=none"], "results/none: no finished phase with fewer than 2 groups"),
        (["--group_nums=2", "--pretrained_path=a", "--split_model_path=b"], "expected one of them"),
        (["--group_nums=2", "--pretrained_path=no.pth"], "no.pth: no such file"),
        (["--group_nums=2", "--pretrained_path=text.pth"], "text.pth: cannot be read as a checkpoint"),
        (["--group_nums=2", "--pretrained_path=foreign.pth"], "foreign.pth: format is None"),
        (["--group_nums=2", "--pretrained_path=two.pth"], "a phase with 2 groups cannot follow one with 2"),
        (
            ["--group_nums=3", "--pretrained_path=two.pth", "--resumed_split_groups=1"],
            "two.pth is a supernet with groups 2 (now 1)",
        ),
        (["--group_nums=2", "--pretrained_path=classes.pth"], "classes.pth is a supernet with classes 3 (now 10)"),
        (
            ["--group_nums=2", "--pretrained_path=space.pth"],
            "is a supernet with space.base_widths [8, 16, 32, 64] (now [4, 6, 10, 20])",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(trained, small, capsys, arguments, message):
    space = load_supernet(trained / "supernet.pth").space
    save_supernet(trained.parents[1] / "two.pth", Supernet(by_width(space, 2), 10))
    save_supernet(trained.parents[1] / "classes.pth", Supernet(by_width(space, 1), 3))
    save_supernet(trained.parents[1] / "space.pth", Supernet(by_width(SPACES["px8"], 1), 10))
    (trained.parents[1] / "text.pth").write_text("no checkpoint")
    torch.save({"state": 1}, trained.parents[1] / "foreign.pth")
    assert run(main, ["--save=one", *small, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.slow
def test_every_phase_runs_in_order_on_the_digits(workshop, capsys):
    train_supernet(["--save", "digits"])
    for groups in range(2, 8):
        main(["--group_nums", str(groups), "--save", "digits"])
    names = ["2", *(f"{groups}_from_{groups - 1}" for groups in range(3, 8))]
    for name in names:
        *_, last, _ = (workshop / "results" / "digits" / name / "log.jsonl").read_text().splitlines()
        assert json.loads(last)["top1"]["largest"] >= 95
