"""How a command ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Pace, Parser, run

COMMAND = """
import sys, time
from fewshot_nas.cli.main import run

def main(argv):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

sys.exit(run(main))
"""


@pytest.mark.parametrize("ignored", [False, True])
def test_sigterm_ends_a_command_as_cleanly_as_ctrl_c(ignored):
    """Also in the background, where shells let SIGINT be ignored."""
    child = subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )
    assert child.stdout.readline() == "begun\n"
    child.terminate()
    out, error = child.communicate()
    assert (out, error, child.returncode) == ("cleaned up\n", "terminated\n", 143)


def test_what_sigterm_did_before_is_restored():
    before = signal.getsignal(signal.SIGTERM)
    seen = []
    run(lambda argv: seen.append(signal.getsignal(signal.SIGTERM)) or 0)
    assert signal.getsignal(signal.SIGTERM) is before
    assert seen != [before]


def test_a_library_that_makes_sigterm_an_interruption_of_its_own_changes_nothing(capsys):
    def main(argv):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        return 0

    assert run(main) == 143
    assert capsys.readouterr().err == "terminated\n"


def test_numbers_and_paths_of_options_are_read_as_those_of_settings(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    parser = Parser(prog="fewshot_nas.test")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_intermixed_args(["--seed=-3", "--out=~/a ~#b"])
    assert (options.seed, options.out) == (-3, Path("/home/me/a ~#b"))
    for number in ("1_0", "064", "0x1", "1.5"):
        with pytest.raises(InputError, match=f"argument --seed: invalid int value: '{number}'"):
            parser.parse_intermixed_args([f"--seed={number}"])


# ---- How long the rest takes ----------------------------------------------------------------------------------------


def test_what_is_left_follows_from_what_is_done():
    now, said = [100.0], []
    pace = Pace(20, said.append, lambda: now[0])
    assert pace.left() == ""
    for _ in range(5):
        now[0] += 60
        pace.advance(2)
    assert pace.left() == "about 5.0 min left"
    assert said == ["10 % done, about 9.0 min left", "20 % done, about 8.0 min left", "40 % done, about 6.0 min left"]
    pace.advance(10)
    assert pace.left() == ""
