"""The last word of a process, and who says it."""

import json

import pytest

from fewshot_nas import launcher
from fewshot_nas.cli import run
from fewshot_nas.errors import InputError, KnownError


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


@pytest.mark.parametrize(("rank", "said"), [("0", "interrupted\n"), ("1", "")])
def test_one_process_says_that_all_were_interrupted(monkeypatch, capsys, rank, said):
    monkeypatch.setenv("RANK", rank)
    assert run(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("rank", "waits"), [("0", []), ("3", [3.0])])
def test_the_first_process_may_fail_first(file, monkeypatch, rank, waits):
    waited = []
    monkeypatch.setattr(launcher.time, "sleep", waited.append)
    monkeypatch.setenv("RANK", rank)
    run(failing(InputError("no such file")))
    assert waited == waits
