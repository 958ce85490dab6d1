"""A ground truth that is made or extended after a phase: nothing is lost, and the epoch can be chosen by it."""

import json

import pytest
import torch

from fewshot_nas import choose, report
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run
from fewshot_nas.records.files import write_json
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.results.scores import LEADING
from fewshot_nas.space.pool import Entry, read_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.train_supernet import main as train
from fewshot_nas.training.loop import Loop

PX8 = SPACES["px8"]


def write_truth(workshop, archs):
    (part,) = read_pool(workshop / "json_file" / "json8", PX8)
    truth = {arch_id: Entry(70.0 + sum(arch[:4]), arch) for arch_id, arch in list(part.items())[:archs]}
    write_arch_file(workshop / "results" / "one" / "gt_arch30.json", PX8, truth)


@pytest.fixture
def call(workshop, small):
    settings = ["--save=one", *small, "training.epochs=3"]
    return lambda *more: train([*settings, *more])


@pytest.fixture
def phase(workshop):
    return workshop / "results" / "one"


def last_choice(phase):
    return json.loads((phase / "log.jsonl").read_text().splitlines()[-1])["chosen"]


def test_a_finished_phase_offers_to_choose_by_a_new_truth(call, phase, workshop, capsys, calls_of_hints):
    call()
    assert last_choice(phase)["rule"] == "the last epoch, because no tau is known"
    assert "chose epoch 3 (epoch_2.pth; file names count from 0), the last epoch," in capsys.readouterr().out
    before = (phase / "log.jsonl").read_bytes()
    write_truth(workshop, 6)
    call()
    said = capsys.readouterr().out
    assert "supernet.pth is there already" in said
    assert calls_of_hints(said) == [["choose", "--save=one", "--phase=1"]]
    assert (phase / "log.jsonl").read_bytes() == before


def test_a_finished_phase_is_chosen_anew(call, phase, workshop, capsys):
    call()
    write_truth(workshop, 6)
    assert choose.main(["--save=one"]) == 0
    said = capsys.readouterr().out
    assert said.count("6 archs of results/one/gt_arch30.json") == 3
    chosen = last_choice(phase)
    assert len(chosen["scores"][LEADING]) == 6
    assert chosen["file"].endswith(f"_{chosen['epoch']}.pth")
    assert chosen["file"] == PhaseDirectory(phase).candidate(chosen["tau"], chosen["epoch"]).name
    assert (phase / "supernet.pth").read_bytes() == (phase / chosen["file"]).read_bytes()
    assert ("the same as before" in said) == (chosen["epoch"] == 2)
    call()
    assert "choose" not in capsys.readouterr().out
    report.main(["--save=one"])
    assert "chosen anew" in (phase / "report.html").read_text()


def test_taus_are_those_that_a_training_with_the_truth_measures(call, phase, workshop):
    """The same checkpoints, hence the same choice, whenever the truth was made."""
    call()
    write_truth(workshop, 6)
    choose.main(["--save=one"])
    afterwards = last_choice(phase)
    call("--no-resume")
    with_it = last_choice(phase)
    assert {key: with_it[key] for key in ("file", "epoch", "tau")} == {
        key: afterwards[key] for key in ("file", "epoch", "tau")
    }


def test_an_unfinished_phase_goes_on_and_chooses_by_the_truth_at_its_end(
    call, phase, workshop, killed, kill_me, monkeypatch
):
    def until_the_second_epoch():
        real = Loop._train_on
        monkeypatch.setattr(Loop, "_train_on", lambda self, *b: kill_me() if self.step == 3 else real(self, *b))
        call()

    killed(until_the_second_epoch)
    write_truth(workshop, 6)
    call()
    chosen = last_choice(phase)
    assert chosen["ground_truth"]["path"] == "results/one/gt_arch30.json"
    assert chosen["file"] == PhaseDirectory(phase).candidate(chosen["tau"], chosen["epoch"]).name
    assert len(list(phase.glob("*_[012].pth"))) == 3
    unbroken = torch.load(phase / chosen["file"], weights_only=True)["model"]
    call("--no-resume", "--save=two", "run.ground_truth=results/one/gt_arch30.json")
    other = torch.load(workshop / "results" / "two" / chosen["file"], weights_only=True)["model"]
    assert all(torch.equal(unbroken[key], other[key]) for key in other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--stage=2"],
            "results/one/2: is not a phase that was trained to its end here; finished are: 1",
        ),
        (
            [],
            "results/one/gt_arch30.json: no such file, so there is nothing to choose by; `python -m fewshot_nas.train",
        ),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence(call, capsys, arguments, said):
    call()
    assert run(choose.main, ["--save=one", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_truth_of_another_space_is_refused(call, workshop):
    call()
    write_json(workshop / "results" / "one" / "gt_arch30.json", {"arch1": {"acc": 1, "arch": "123"}})
    with pytest.raises(InputError, match=r"gt_arch30\.json: arch1: "):
        choose.main(["--save=one"])
