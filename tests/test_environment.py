"""What the machine does to a command: the work is done all the same, or one sentence says why not."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fewshot_nas.__main__ import main
from fewshot_nas.cli import run
from fewshot_nas.jsonl import records


@pytest.fixture
def stdout(monkeypatch):
    """Makes a file descriptor the standard output."""

    with ExitStack() as opened:
        yield lambda number: monkeypatch.setattr(sys, "stdout", opened.enter_context(os.fdopen(number, "w")))


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_reader_who_leaves_costs_no_epoch(workshop, small, stdout, capsys):
    stdout(closed_pipe())
    assert run(main, ["train_supernet", *small, "training.epochs=2"]) == 0
    assert [each["epoch"] for each in records(workshop / "results/save/log.jsonl") if "epoch" in each] == [0, 1]
    assert (workshop / "results/save/supernet.pth").exists()
    assert capsys.readouterr().err == ""


def test_a_full_disk_of_the_output_is_said_when_the_work_is_done(workshop, stdout, capsys):
    stdout(os.open("/dev/full", os.O_WRONLY))
    assert run(main, ["make_pool", "--size=4", "--parts=1", "--out=new"]) == 2
    assert (workshop / "new" / "part1.json").exists()
    assert capsys.readouterr().err.startswith("error: standard output: No space left on device; the work is done")


def test_without_standard_error_a_training_ends_well_and_a_mistake_is_said(workshop, small, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)  # what `2>&-` makes of it
    assert run(main, ["train_supernet", *small]) == 0
    assert run(main, ["train_supernet", "--save=../x"]) == 2
    assert "error: --save is '../x'" in capsys.readouterr().out


def test_closed_streams_are_filled_before_a_file_gets_their_number(together):
    def work():
        for number in range(3):
            os.close(number)
        assert run(lambda argv: 0) == 0
        assert [str(Path(f"/proc/self/fd/{number}").readlink()) for number in range(3)] == [os.devnull] * 3

    together(work)


def test_a_log_that_is_shorter_than_the_state_is_said_and_gone_on_with(workshop, small, capsys):
    """As a power cut leaves it, if the log was not synced."""
    arguments = ["train_supernet", *small, "training.epochs=3"]
    assert run(main, [*arguments]) == 0
    log = workshop / "results/save/log.jsonl"
    first, second, *_ = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + bytes(len(second)))
    (workshop / "results/save/supernet.pth").unlink()
    assert run(main, arguments) == 0
    assert b"\0" not in log.read_bytes()
    assert "last.pth has lost" in capsys.readouterr().out
    assert run(main, ["report"]) == 0


def link_to(target):
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "save", "said"),
    [
        (link_to("nowhere"), "run", "--save is 'run', but results/run is a link that leads nowhere; mend or remove it"),
        (link_to("run"), "run/below", "results/run is a link that leads nowhere"),
        (os.mkdir, "x" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("command", [["train_supernet"], ["report"], ["cream.search"], ["latency"]])
def test_a_place_that_cannot_be_is_refused_at_once(workshop, capsys, make, save, said, command):
    (workshop / "results").mkdir()
    make(workshop / "results" / "run")
    assert run(main, [*command, f"--save={save}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_results_that_are_a_broken_link_are_refused(workshop, capsys):
    (workshop / "results").symlink_to("unmounted/disk")
    assert run(main, ["train_supernet"]) == 2
    assert "but results is a link that leads nowhere" in capsys.readouterr().err
