"""Stand-alone training as a command: which archs, and that nothing is lost or done twice."""

import json
import re

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.config import load_config
from fewshot_nas.distributed import World
from fewshot_nas.evaluation.naive import measure
from fewshot_nas.models.checkpoint import load_supernet, read_checkpoint, subnet_of
from fewshot_nas.records.files import locked, read_json
from fewshot_nas.results.found import Found, FoundArch, write_found
from fewshot_nas.results.run import stand_alone_directory
from fewshot_nas.running.images import evaluation_inputs, open_images
from fewshot_nas.running.run import Run
from fewshot_nas.running.single import _selected
from fewshot_nas.space.pool import make_pool, read_arch_file, read_pool
from fewshot_nas.space.presets import SPACES
from fewshot_nas.train_stand_alone import main
from fewshot_nas.train_supernet import main as train_supernet

PX8 = SPACES["px8"]


@pytest.fixture
def train(workshop, small):
    def call(archs, *more):
        return main([f"--target_arch_num={archs}", "--save=alone", *small, *more])

    return call


@pytest.fixture
def truth(workshop):
    return lambda: read_arch_file(workshop / "results" / "alone" / "gt_arch30.json", PX8)


def test_a_number_adds_one_arch(train, truth, workshop, capsys):
    assert train("1") == 0
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    assert {arch_id: entry.arch for arch_id, entry in truth().items()} == {"arch1": part["arch1"]}
    assert f"arch1, seed 0: top-1 {truth()['arch1'].acc:.2f} %" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "numbers"), [("3,1", [1, 3]), ("2-3,5", [2, 3, 5])])
def test_lists_and_ranges(train, truth, text, numbers):
    train(text)
    assert list(truth()) == [f"arch{number}" for number in numbers]


CODE = "1" + "2222" + "7" + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 6 + "77" * 2 + "00" * 3


def test_a_code_is_trained_for_its_own_sake(train, truth, workshop, capsys, calls_of_hints):
    """A search's winner in the ground truth would make the truth a selection."""
    train("1")
    train(CODE)
    assert list(truth()) == ["arch1"]
    said = capsys.readouterr().out
    network = f"results/alone/stand_alone/code{CODE}_seed0/subnet.pth"
    assert calls_of_hints(said) == [["export", f"--model={network}", f"--out=code{CODE}.pt"]]
    subnet, space, arch = subnet_of(workshop / network, read_checkpoint(workshop / network))
    assert (space.encode(arch), subnet.num_classes) == (CODE, 10)
    train(CODE)
    assert f"{network} is there already; --no-resume trains it anew" in capsys.readouterr().out


def test_a_code_needs_no_pool(train, capsys):
    """Of most spaces there is none until one is made; a number, and a ground truth, need it."""
    train(CODE, "run.pool=json_file/none")
    assert f"code{CODE}, seed 0: top-1" in capsys.readouterr().out
    for more in (["1"], [CODE, "--ground_truth=results/alone/gt_arch30.json"]):
        with pytest.raises(InputError, match="json_file/none"):
            train(*more, "run.pool=json_file/none")


def test_the_test_images_are_left_for_later_where_that_is_wished(train, capsys, monkeypatch):
    """They are not even read; a ground truth needs them."""
    with pytest.raises(InputError, match="--no_test is for one network by its code"):
        train("1", "--no_test")
    monkeypatch.setattr(Run, "test", property(lambda self: pytest.fail("test images are read")))
    train(CODE, "--no_test")
    assert re.search(r"seed 0: top-1 \d+\.\d\d %, the test images were not looked at$", capsys.readouterr().out, re.M)
    assert read_json(stand_alone_directory("alone", f"code{CODE}", 0).result)["test"] is None


def test_the_best_arch_of_a_search_is_trained_from_scratch(fresh_run, capsys, calls_of_hints):
    """With the settings of the run that was searched, watched, and not added to a ground truth."""
    supernet = fresh_run / "results" / "run" / "supernet.pth"
    space = load_supernet(supernet).space
    code = space.encode(space.smallest)
    path = fresh_run / "results" / "run" / "searches" / "best" / "found.json"
    write_found(path, path.with_name("front.csv"), Found({"checkpoint": str(supernet)}, [FoundArch(code, 9.0, {})], []))
    assert main([f"--from_search={path}", "--save=other", "--seed=3"]) == 0
    directory = stand_alone_directory("other", "best", 3)
    _, its_space, arch = subnet_of(directory.chosen, read_checkpoint(directory.chosen))
    assert (its_space, its_space.encode(arch)) == (space, code)
    said = capsys.readouterr().out
    assert f"top-1 {read_json(directory.result)['valid']:.2f} %" in said
    assert calls_of_hints(said) == [["export", f"--model={directory.chosen}", "--out=best.pt"]]
    assert not list(directory.path.parents[1].glob("gt_arch30*"))
    write_found(path, path.with_name("front.csv"), Found({}, [], []))
    with pytest.raises(InputError, match="the search has found no arch"):
        main([f"--from_search={path}", "--save=other"])


@pytest.mark.parametrize("known", [True, False])
def test_a_code_joins_a_ground_truth_that_is_named(train, workshop, known):
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    code = PX8.encode(part["arch4"]) if known else CODE
    train(code, "--ground_truth=results/alone/gt_arch30.json")
    entries = read_arch_file(workshop / "results" / "alone" / "gt_arch30.json", PX8)
    assert [(arch_id, PX8.encode(entry.arch)) for arch_id, entry in entries.items()] == [
        ("arch4" if known else f"code{CODE}", code)
    ]


def test_a_network_that_was_trained_alone_is_kept_and_scores_what_was_said(train, truth, workshop):
    train("1")
    directory = workshop / "results" / "alone" / "stand_alone" / "arch1_seed0"
    subnet, space, _ = subnet_of(directory / "subnet.pth", read_checkpoint(directory / "subnet.pth"))
    config = load_config(directory / "config.yml")
    data = open_images(config, space)
    inputs = evaluation_inputs(config, space, data, data.valid, World.alone())
    assert measure(subnet, inputs).top1 == truth()["arch1"].acc == read_json(directory / "result.json")["valid"]


@pytest.mark.parametrize(("epochs", "seen"), [(1, 1), (25, 50)])
def test_a_short_training_has_calibrated_statistics(train, workshop, epochs, seen):
    """Running ones would still hold their first values; those of 50 steps do not."""
    train("1", f"stand_alone.epochs={epochs}")
    directory = stand_alone_directory("alone", "arch1", 0)
    subnet, *_ = subnet_of(directory.chosen, read_checkpoint(directory.chosen))
    assert subnet.blocks[0].main[0].norm.num_batches_tracked == seen  # of calibration, or of the training
    assert read_json(directory.manifest).get("statistics") == ("calibrated" if seen == 1 else None)


def test_all_are_the_first_thirty(workshop):
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    assert dict(_selected("all", {**part, "arch31": part["arch1"]}, PX8, in_truth=True)) == part


def test_without_settings_archs_are_trained_as_the_run_was_begun(workshop, small, truth):
    """The line that a report shows, `--save=alone --target_arch_num=...`, has no settings."""
    train_supernet(["--save=alone", *small])
    main(["--target_arch_num=1", "--save=alone"])
    main(["--target_arch_num=2", "--save=alone"])
    manifest = read_json(workshop / "results" / "alone" / "stand_alone" / "arch2_seed0" / "manifest.json")
    assert manifest["settings"]["data"]["train_images"] == 32
    assert len(truth()) == 2


def test_the_first_networks_from_scratch_begin_a_run(train, workshop):
    train("1")
    train_supernet(["--save=alone"])
    manifest = read_json(workshop / "results" / "alone" / "manifest.json")
    assert manifest["settings"]["data"]["train_images"] == 32


def test_data_and_space_of_another_run_are_refused(train, workshop, truth):
    train("1")
    with pytest.raises(InputError, match=r"arch1_seed0 was begun with space.base_widths \[4, 6, 10, 20\] \(now \[8,"):
        train("2", "space.base_widths=[8,6,10,20]")
    with pytest.raises(
        InputError, match=r"data\.valid\.images 20 \(now 10\); all trainings of a run have one data set"
    ):
        train("2", "data.valid_images=10")
    assert list(truth()) == ["arch1"]


def test_what_is_there_is_not_trained_again(train, capsys):
    train("1")
    train("1,2")
    out = capsys.readouterr().out
    assert "arch1 with seed 0 is in results/alone/gt_arch30.json already" in out
    assert out.count("arch1, seed 0:") == 1
    train("1", "--no-resume")
    assert "arch1, seed 0:" in capsys.readouterr().out


def test_seeds_are_averaged(train, truth, workshop):
    for seed in (0, 1):
        train("1", "--seed", str(seed))
    runs = workshop / "results" / "alone" / "gt_arch30.runs"
    found = [json.loads((runs / f"arch1_seed{seed}.json").read_text())["valid"] for seed in (0, 1)]
    assert truth()["arch1"].acc == pytest.approx(sum(found) / 2)


def test_other_settings_are_not_mixed_in(train):
    train("1")
    with pytest.raises(InputError, match=r"stand_alone/arch1_seed0 was begun with stand_alone.epochs 1 \(now 2\)"):
        train("1", "stand_alone.epochs=2")
    with pytest.raises(InputError, match=r"arch1_seed0\.json: was trained with other settings"):
        train("2", "stand_alone.epochs=2")


def test_three_processes_share_the_archs(train, truth, together):
    together(*[lambda: train("1-5")] * 3)
    assert list(truth()) == [f"arch{number}" for number in range(1, 6)]


def test_a_run_that_another_process_is_at_is_left_to_it(train, truth, workshop, capsys):
    with locked(workshop / "results" / "alone" / "stand_alone" / "arch1_seed0" / ".lock", wait=False):
        train("1,2")
    assert list(truth()) == ["arch2"]
    assert "arch1 is left out" in capsys.readouterr().out


def test_a_plan_says_steps_and_multiply_adds_and_writes_nothing(train, workshop, small, capsys):
    before = set(workshop.rglob("*"))
    train("1-3", "--plan", "stand_alone.epochs=7")
    said = capsys.readouterr().out
    assert "3 archs; the first of them alone:" in said
    found = re.search(
        r"arch1_seed0: 7 epochs of 2 steps with 16 images, 14 steps; (\S+) multiply-adds, .*; about", said
    )
    assert found
    arch = make_pool(PX8, seed=0, size=1)["arch1"]
    forward = 14 * 16 * load_config(None, small).space.build().cost(arch, num_classes=10).macs
    assert 2.5 * forward < float(found[1]) < 3.2 * forward
    assert set(workshop.rglob("*")) == before


def test_the_ground_truth_may_lie_elsewhere(train, workshop):
    train("1", "--ground_truth", "elsewhere/gt.json")
    assert list(read_arch_file(workshop / "elsewhere" / "gt.json", PX8)) == ["arch1"]


@pytest.mark.parametrize(
    ("archs", "message"),
    [
        ("31", "--target_arch_num names arch31, but the pool has 30 archs"),
        ("0", "--target_arch_num names arch0"),
        ("x", "--target_arch_num is 'x', expected a number such as 1"),
        ("1,", "--target_arch_num is '1,', expected"),
        ("3-1", "--target_arch_num is '3-1', expected"),
        ("1-99999999999", "--target_arch_num is '1-99999999999', expected a number such as 1"),
        ("1" + "9" * 51, "character 2 is '9', but stage 1 has 2..5 blocks"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(workshop, small, capsys, archs, message):
    assert run(main, [f"--target_arch_num={archs}", *small]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.slow
def test_a_network_starts_from_a_part_of_a_supernet_s_weights_or_from_itself(train, workshop, small, capsys):
    """With a rate of 0, it is that part; another start is another recipe of the ground truth."""
    train_supernet(["--save=first", *small])
    source = workshop / "results" / "first" / "supernet.pth"
    supernet = load_supernet(source)
    arch = supernet.space.decode(CODE)
    network = stand_alone_directory("alone", f"code{CODE}", 0).chosen
    for start in (source, workshop / "kept.pth"):
        train(CODE, f"stand_alone.start={start}", "stand_alone.lr=0", "--no-resume")
        assert "; the classifier is kept" in capsys.readouterr().out
        found = subnet_of(network, read_checkpoint(network))[0].parameters()
        for ours, theirs in zip(found, supernet.tensors(arch).tensors(), strict=True):
            assert ours.sum().item() == pytest.approx(theirs.sum().item(), rel=1e-4, abs=1e-5)  # channels may be sorted
        network.rename(workshop / "kept.pth")
    train("1")
    with pytest.raises(InputError, match="was trained with other settings"):
        train("2", f"stand_alone.start={source}")
