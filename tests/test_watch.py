"""Several processes of which one fails: all end, with one sentence, and none waits for ever."""

import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from contextlib import closing

import pytest
import torch
import torch.distributed as dist

from fewshot_nas import watch
from fewshot_nas.cli.errors import InputError
from fewshot_nas.cli.main import Terminated, run
from fewshot_nas.computing import DefaultSettings
from fewshot_nas.distributed import broadcast_object, gathered, joined

SIZE = 3


def work_until(fault, rank, silence_s):
    """A command that reduces for ever, and what its process `rank` does after a few times."""

    def main(argv):
        with joined("cpu", DefaultSettings(silence_s=silence_s)) as world:
            for step in range(100_000):
                if (step, world.rank) == (20, rank):
                    fault()
                dist.all_reduce(torch.ones(1))
        return 0

    return main


def tidying_up(argv):
    """A command whose processes all get SIGTERM; the first one then talks to the others, which have gone."""
    with joined("cpu", DefaultSettings(silence_s=3)) as world:
        gathered(None, world)
        units = work_units(world)
        with closing(units):
            next(units)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
    return 0


def work_units(world):
    try:
        yield 1
    finally:
        if world.is_rank0:
            time.sleep(0.5)
            broadcast_object("all done", world)
            gathered(None, world)


@pytest.fixture
def ended(tmp_path):
    """Exit codes and standard errors of three processes, of which one meets a fault."""

    def of(fault, rank=0, silence_s=3, main=None):
        main = main or work_until(fault, rank, silence_s)
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        children = [started(main, each, port, tmp_path) for each in range(SIZE)]
        codes = {}
        while left := [child for child in children if child not in codes]:
            if fault is stop and left == [children[rank]]:
                os.kill(left[0], signal.SIGKILL)  # as torchrun would
            for child in left:
                found, status = os.waitpid(child, os.WNOHANG)
                codes |= {child: os.waitstatus_to_exitcode(status)} if found else {}
            time.sleep(0.02)
        return [codes[child] for child in children], "".join((tmp_path / f"{each}").read_text() for each in range(SIZE))

    return of


def started(main, rank, port, directory):
    if child := os.fork():
        return child
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(SIZE)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    sys.stderr = (directory / f"{rank}").open("w", buffering=1)
    try:
        code = run(main)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def wrong_input():
    raise InputError("a.jpg: cannot be decoded")


def defect():
    raise KeyError("x")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


@pytest.mark.dist
@pytest.mark.parametrize("rank", [0, 2])
def test_an_error_on_one_process_is_said_once_and_ends_all(ended, rank):
    codes, said = ended(wrong_input, rank)
    assert (codes, said) == ([2] * SIZE, "error: a.jpg: cannot be decoded\n")


@pytest.mark.dist
def test_a_defect_keeps_its_traceback_and_ends_the_others_quietly(ended):
    codes, said = ended(defect, 1)
    assert codes == [2, 1, 2]
    assert said.endswith("KeyError: 'x'\n")
    assert said.count("Traceback") == 1


@pytest.mark.dist
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all(ended, rank):
    codes, said = ended(kill, rank)
    assert codes == [-9 if each == rank else 2 for each in range(SIZE)]
    who = rf"rank {rank} (process " if rank else "the process that the others meet at (rank 0, or the launcher)"
    assert said.startswith(f"error: the connection to {who}")
    assert said.count("\n") == 1


@pytest.mark.dist
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_stopped_process_ends_all(ended, rank):
    """Also the one that keeps the store, at which the others would notice."""
    codes, said = ended(stop, rank)
    assert codes == [-9 if each == rank else 2 for each in range(SIZE)]
    assert f"rank {rank}" in said
    assert "has given no sign of life for 3 s, so all end; the same command goes on" in said
    assert said.count("\n") == 1


@pytest.mark.dist
def test_sigterm_ends_all_as_terminated_also_one_that_tidies_up_with_the_others(ended):
    assert ended(None, main=tidying_up) == ([143] * SIZE, "terminated\n")


@pytest.mark.parametrize("error", [RuntimeError("gloo: connection closed"), KeyError(1), Terminated()])
def test_who_leaves_lets_the_others_read_the_board_first(monkeypatch, error):
    """With rank 0 the board goes, and another process would say something else."""
    store, written = dist.HashStore(), []
    monkeypatch.setattr(watch.time, "sleep", lambda seconds: written.append(store.check(["name/board"])))
    watching = watch.Watch("name", 0, {1: "elsewhere"}, 5.0, lambda: store)
    if isinstance(error, Terminated):  # because of what another process has said
        watching._post("no sign of life")
    watching.verdict(error)
    assert written[-1]


TORCHRUN = """
import sys
from fewshot_nas.cli.main import run
from fewshot_nas.distributed import joined
from fewshot_nas.cli.errors import InputError

def main(argv):
    with joined("cpu") as world:
        if world.rank == 1:
            raise InputError("a.jpg: cannot be decoded")
        import torch, torch.distributed as dist
        while True:
            dist.all_reduce(torch.ones(1))

sys.exit(run(main))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_under_torchrun_the_sentence_comes_last_and_once(tmp_path):
    (tmp_path / "command.py").write_text(TORCHRUN)
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3"]
    ended = subprocess.run([*launched, str(tmp_path / "command.py")], capture_output=True, text=True)
    assert ended.returncode != 0
    *_, sentence, border = ended.stderr.rstrip().splitlines()
    assert sentence.endswith("error: a.jpg: cannot be decoded")
    assert set(border) == {"="}
    assert ended.stderr.count("cannot be decoded") == 1
    assert "gloo" not in ended.stderr
