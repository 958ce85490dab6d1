"""Training a found arch on, and taking it out of the project."""

import pytest
import torch

from fewshot_nas import export, finetune
from fewshot_nas.cli.errors import InputError
from fewshot_nas.config import load_config
from fewshot_nas.models.checkpoint import load_supernet, read_checkpoint, save_supernet, subnet_of
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records.files import read_json, sha256
from fewshot_nas.results.found import Found, FoundArch, write_found
from fewshot_nas.results.run import Phase, finetune_directory, phase_directory
from fewshot_nas.space.split import by_width
from fewshot_nas.training import loop
from tests.conftest import SMALL

ONE_SHOT = Phase("1", "")


@pytest.fixture
def run(fresh_run):
    """The space of a run, and the code of an arch."""
    space = load_supernet(fresh_run / "results" / "run" / "supernet.pth").space
    return space, space.encode(space.smallest)


def directory_of(code):
    return finetune_directory("run", f"1_{code}", 0)


def network_of(directory):
    return subnet_of(directory.chosen, read_checkpoint(directory.chosen))[0]


def test_inherited_weights_are_trained_on_and_measured(run, capsys):
    _, code = run
    assert finetune.main(["--save=run", f"--arch={code}", "finetune.epochs=2"]) == 0
    directory = directory_of(code)
    result = read_json(directory.result)
    assert result["arch"] == code
    assert 0 <= result["valid"] <= 100
    printed = capsys.readouterr().out
    assert "inherited weights: " in printed
    assert f"top-1 {result['valid']:.2f} %" in printed.splitlines()[-3]  # after the last epoch
    assert directory.log.read_text().count('"top1"') == 2
    assert not list(directory.path.parents[1].glob("gt_arch30*"))


def test_training_begins_with_the_supernet_s_weights(run, monkeypatch):
    """Without a step, the network is the supernet's subnet, calibrated."""
    space, code = run
    monkeypatch.setattr(loop.Loop, "run", lambda self: None)
    finetune.main(["--save=run", f"--arch={code}"])
    network = network_of(directory_of(code))
    weights = load_supernet(phase_directory("run", ONE_SHOT).chosen).tensors(space.decode(code))
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), weights.tensors(), strict=True))
    assert network.blocks[0].main[0].norm.num_batches_tracked > 0


def test_the_best_arch_of_a_search_is_taken_with_the_supernet_that_was_searched(run, tmp_path):
    space, code = run
    model = phase_directory("run", ONE_SHOT).model("other")
    save_supernet(model, Supernet(by_width(space, 1), 10))
    known = {"checkpoint": "other.pth", "checkpoint_sha256": sha256(model)}
    path = tmp_path / "mine" / "found.json"

    def write(*archs):
        write_found(path, tmp_path / "front.csv", Found(known, archs, ["macs"]))

    write(FoundArch(code, 90.0, {"macs": 5.0}))
    finetune.main(["--save=run", f"--from_search={path}"])
    directory = finetune_directory("run", "mine", 0)
    assert read_json(directory.result)["arch"] == code
    assert read_json(directory.manifest)["parent_sha256"] == known["checkpoint_sha256"]
    save_supernet(model, Supernet(by_width(space, 1), 10))
    with pytest.raises(InputError, match=r"searched another results/run/other\.pth than the one there is now"):
        finetune.main(["--save=run", f"--from_search={path}"])
    write()
    with pytest.raises(InputError, match="the search has found no arch"):
        finetune.main(["--save=run", f"--from_search={path}"])


def test_an_interrupted_training_ends_with_the_same_network(run, monkeypatch):
    _, code = run
    whole, torn = directory_of(code), finetune_directory("run", f"1_{code}", 1)
    finetune.main(["--save=run", f"--arch={code}", "finetune.epochs=2", "--seed=1"])
    expected = torn.chosen.rename(torn.path / "expected.pth").read_bytes()
    torn.manifest.unlink()
    torn.last.unlink()
    before, steps = loop.Loop._train_on, []

    def stopping(self, *batch):
        steps.append(batch)
        if len(steps) == 4:
            raise KeyboardInterrupt
        before(self, *batch)

    monkeypatch.setattr(loop.Loop, "_train_on", stopping)
    with pytest.raises(KeyboardInterrupt):
        finetune.main(["--save=run", f"--arch={code}", "finetune.epochs=2", "--seed=1"])
    monkeypatch.setattr(loop.Loop, "_train_on", before)
    finetune.main(["--save=run", f"--arch={code}", "finetune.epochs=2", "--seed=1"])
    assert torn.chosen.read_bytes() == expected
    assert not whole.path.exists()


def test_export_takes_the_result(run, tmp_path, capsys):
    _, code = run
    finetune.main(["--save=run", f"--arch={code}"])
    chosen = directory_of(code).chosen
    assert f"python -m fewshot_nas.export --model={chosen}" in capsys.readouterr().out
    assert export.main([f"--model={chosen}", f"--out={tmp_path / 'network.pt'}"]) == 0
    written = torch.load(tmp_path / "network.pt", weights_only=True)
    expected = network_of(directory_of(code)).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in written.items())
    with pytest.raises(InputError, match=f"holds arch {code}, not "):
        export.main([f"--model={chosen}", "--arch=" + "1" + code[1:].replace("7", "6")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch=123"], "has 3 characters"),
        (["--from_search=none.json"], "none.json: no such file, expected results/.*/found.json of a finished search"),
        (["--arch=CODE", "--model_name=none"], "none.pth: no such file, so there are no weights to inherit"),
        (["--arch=CODE", "--model_name=twelve"], "twelve.pth: is of space .* with 12 classes, but the settings .* 10"),
    ],
)
def test_a_wrong_argument_is_refused(run, arguments, message):
    space, code = run
    save_supernet(phase_directory("run", ONE_SHOT).model("twelve"), Supernet(by_width(space, 1), 12))
    with pytest.raises(InputError, match=message):
        finetune.main(["--save=run", *(word.replace("CODE", code) for word in arguments)])


def test_a_network_of_a_file_is_moved_to_other_classes(run, capsys):
    """The space is the file's; the rate and the epochs are those for other images; another file is refused later."""
    _, code = run
    finetune.main(["--save=run", f"--arch={code}"])
    source, small = directory_of(code).chosen, [each for each in SMALL if not each.startswith(("space", "finetune"))]
    moved = ["--save=moved", f"--from={source}", *small, "data.num_classes=12"]
    finetune.main([*moved, "finetune.epochs=1"])
    said = capsys.readouterr().out
    assert "starts from " in said
    assert said.count("the classifier is new, for 12 classes in place of 10") == 1
    directory = finetune_directory("moved", f"from_subnet_{code}", 0)
    assert network_of(directory).num_classes == 12
    settings = load_config(directory.config)
    assert (settings.finetune.lr, settings.space.build()) == (0.1, run[0])
    source.write_bytes(phase_directory("run", ONE_SHOT).chosen.read_bytes())
    with pytest.raises(InputError, match=r"was begun with parent_sha256 .*\.\.\. \(now "):
        finetune.main([*moved, "finetune.epochs=1", f"--arch={code}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --arch, --from_search or --from"),
        (["--from=none.pth"], "none.pth: no such file"),
        (["--from=none.pth", "--phase=2"], "--from names a file, so leave out"),
        (["--from=results/run/supernet.pth", "space.resolution=2"], "space.resolution is 2, expected at least 4"),
        (["--from=results/run/supernet.pth", "space.strides=[1,2]"], "strides has 2 values"),
    ],
)
def test_a_file_that_cannot_be_moved_is_refused(run, arguments, message):
    with pytest.raises(InputError, match=message):
        finetune.main(["--save=moved", *arguments])
