"""What the machine does to a command: the work is done all the same, or one sentence says why not."""

import errno
import importlib.metadata
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from PIL import Image

import fewshot_nas
from fewshot_nas.__main__ import main
from fewshot_nas.cli.main import run
from fewshot_nas.data.images import ArrayImages
from fewshot_nas.data.loader import TrainBatches
from fewshot_nas.data.transforms import train_transform
from fewshot_nas.records.files import read_json
from fewshot_nas.records.journal import records

ROOT = Path(fewshot_nas.__file__).parents[1]
ARCH = "1" + "2222" + "7" + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 3 + "77" * 2 + "00" * 6 + "77" * 2 + "00" * 3


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


def test_a_working_directory_that_was_removed_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(main, ["train_supernet"]) == 2
    assert capsys.readouterr().err == "error: the working directory: No such file or directory\n"


def test_a_checkout_that_is_not_installed_trains(workshop, small, monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    assert run(main, ["train_supernet", *small]) == 0
    assert read_json(workshop / "results/save/manifest.json")["versions"]["fewshot-nas"] == fewshot_nas.__version__


def test_without_docstrings_the_commands_are_listed_with_what_they_do():
    listed = [sys.executable, "-OO", "-m", "fewshot_nas"]
    out = subprocess.run(listed, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "  train_supernet     Train the one-shot supernet: at each step" in out


def test_names_of_latin_1_are_no_obstacle(workshop, small, capsys):
    """Directory names that are no UTF-8, of the run and of a class."""
    name = os.fsdecode(b"caf\xe9")
    for green, (part, each) in enumerate(itertools.product(("train", "val"), (name, "dog"))):
        directory = workshop / name / part / each
        directory.mkdir(parents=True)
        for number in range(16):
            Image.new("RGB", (8, 8), (number, green, 30)).save(directory / f"{number}.png")
    own = [each for each in small if not each.startswith("data.")]
    images = ["space.in_channels=3", "data.name=folders", f"data.root={name}"]
    assert run(main, ["train_supernet", f"--save={name}", *own, *images]) == 0
    assert run(main, ["report", f"--save={name}"]) == 0
    export = ["export", f"--model=results/{name}/supernet.pth", f"--arch={ARCH}", f"--out={name}.safetensors"]
    assert run(main, export) == 0
    assert "results/caf\\udce9/supernet.pth" in capsys.readouterr().out


def test_sigterm_for_a_whole_group_is_one_word(together, tmp_path):
    """As schedulers send it: also to the workers, whose end is not one more error."""
    images = ArrayImages(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.arange(64))

    def command(argv):
        loaded = TrainBatches(images, train_transform("shift_flip", 8), batch_size=2, seed=0, workers=2)
        for epoch in itertools.count():
            for _ in loaded.epoch(epoch):
                (tmp_path / "begun").touch()
        return 0

    def work():
        child = os.fork()
        if not child:
            os.setpgrp()
            sys.stderr = (tmp_path / "said").open("w")
            os.dup2(sys.stderr.fileno(), 2)
            os._exit(run(command))
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        os.killpg(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143

    together(work)
    assert (tmp_path / "said").read_text() == "terminated\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ELOOP, errno.EEXIST, errno.EPIPE])
@pytest.mark.parametrize("hidden", [False, True])
def test_an_error_of_the_machine_is_one_sentence(capsys, number, hidden):
    """Also where a library hides it behind an error of its own, as torch does for files and for workers."""

    def command(argv):
        try:
            raise OSError(number, os.strerror(number), "images/a.png")
        except OSError:
            if hidden:
                raise RuntimeError("Communication with the workers is no longer possible") from None
            raise

    assert run(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: images/a.png: {os.strerror(number)}")


@pytest.mark.parametrize(
    "error", [OSError(errno.EBADF, "Bad file descriptor"), RuntimeError("x"), OSError("no number")]
)
def test_a_defect_keeps_its_traceback(error):
    def command(argv):
        raise error

    with pytest.raises(type(error)):
        run(command)
