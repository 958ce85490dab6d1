"""The last word of a process, and who says it."""

import json

import pytest

from fewshot_nas import train_supernet
from fewshot_nas.cli import launcher
from fewshot_nas.cli.errors import InputError, KnownError
from fewshot_nas.cli.main import run


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where torchrun wants this process's error; nobody waits."""
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.setattr(launcher.time, "sleep", lambda seconds: None)
    return tmp_path / "error.json"


def failing(error):
    def main(argv):
        raise error

    return main


def test_torchrun_gets_the_sentence_and_shows_it(file, capsys):
    assert run(failing(InputError("a.jpg: no such file"))) == 2
    message = json.loads(file.read_text())["message"]
    assert message["extraInfo"]["py_callstack"] == message["message"] == "error: a.jpg: no such file"
    assert capsys.readouterr().err == ""


def test_torchrun_gets_a_defect_s_traceback(file):
    with pytest.raises(KeyError):
        run(failing(KeyError("x")))
    message = json.loads(file.read_text())["message"]
    assert message["message"] == "KeyError: 'x'"
    assert message["extraInfo"]["py_callstack"].startswith("Traceback")


def test_what_another_process_has_said_is_not_said_again(capsys):
    assert run(failing(KnownError("a.jpg: no such file"))) == 2
    assert capsys.readouterr().err == ""


def test_on_another_machine_it_is_said_too(file):
    """Where torchrun has not ended this process, it knows of no failure."""
    assert run(failing(KnownError("a.jpg: no such file"))) == 2
    assert json.loads(file.read_text())["message"]["message"] == "error: a.jpg: no such file"


def started(monkeypatch, **variables):
    """Sets the environment of one process of four, with the given variables in place of torchrun's."""
    usual = {"WORLD_SIZE": "4", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in (usual | variables).items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("rank", "said"), [("0", "interrupted\n"), ("1", "")])
def test_one_process_says_that_all_were_interrupted(monkeypatch, capsys, rank, said):
    started(monkeypatch, RANK=rank)
    assert run(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("rank", "waits"), [("0", []), ("3", [3.0])])
def test_the_first_process_may_fail_first(file, monkeypatch, rank, waits):
    waited = []
    monkeypatch.setattr(launcher.time, "sleep", waited.append)
    started(monkeypatch, RANK=rank)
    run(failing(InputError("no such file")))
    assert waited == waits


@pytest.mark.parametrize("size", [None, "", "1"])
def test_one_process_is_the_first_whatever_its_rank(monkeypatch, size):
    """Images and schedulers set some of the variables, also where there is one process."""
    started(monkeypatch, WORLD_SIZE=size, RANK="3", MASTER_PORT=None)
    assert launcher.place() == (0, 1, 0)
    assert launcher.is_first()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RANK": None}, "WORLD_SIZE is 4, without RANK; start several processes with torchrun, or unset WORLD_SIZE"),
        ({"RANK": "", "MASTER_ADDR": None}, "WORLD_SIZE is 4, without RANK and MASTER_ADDR"),
        ({"RANK": "4"}, "the environment's RANK is '4', expected a whole number from 0 to 3; torchrun sets it"),
        ({"RANK": "-1"}, "RANK is '-1'"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a whole number of at least 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0', expected a whole number of at least 1"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT is '99999', expected a whole number from 0 to 65535"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK is 'x', expected a whole number of at least 0"),
    ],
)
def test_an_environment_that_no_launcher_makes_is_one_sentence(monkeypatch, capsys, workshop, variables, said):
    started(monkeypatch, **variables)
    assert run(train_supernet.main, ["training.epochs=1"]) == 2
    assert said in capsys.readouterr().err
    assert launcher.is_first()
