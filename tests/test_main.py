"""The list of commands, and what every command does with Ctrl-C and wrong input."""

import errno
import subprocess
import sys

import pytest

from fewshot_nas.__main__ import COMMANDS, main
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import run


def test_commands_are_listed_with_one_line_each(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS:
        (line,) = [line for line in lines if line.split()[:1] == [command]]
        assert len(line.split()) > 3


def test_a_command_is_run_by_name(tmp_path, capsys):
    assert main(["make_pool", "--size", "3", "--parts", "1", "--out", str(tmp_path)]) == 0
    assert "3 archs" in capsys.readouterr().out


def test_an_unknown_command_is_refused():
    with pytest.raises(InputError, match="'mix' is not a command, expected one of fit, make_pool, train_stand_alone"):
        main(["mix"])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_at_once(command):
    """A command imports torch only after its arguments are understood."""
    shown = subprocess.run([sys.executable, "-m", f"fewshot_nas.{command}", "--help"], capture_output=True, check=True)
    assert b"usage: fewshot_nas." in shown.stdout
    probe = f"import sys, fewshot_nas.{command}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", probe], check=True)


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [(InputError("x: y"), 2, "error: x: y\n"), (KeyboardInterrupt(), 130, "interrupted\n")],
)
def test_a_users_mistake_ends_in_one_line(capsys, problem, status, said):
    def failing(argv):
        raise problem

    assert run(failing) == status
    assert capsys.readouterr().err == said


def test_a_full_disk_ends_in_one_line(capsys):
    def failing(argv):
        raise OSError(errno.ENOSPC, "No space left on device", "results/log.jsonl")

    assert run(failing) == 2
    assert capsys.readouterr().err == "error: results/log.jsonl: No space left on device\n"


def test_a_defect_keeps_its_traceback():
    def failing(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(failing)
