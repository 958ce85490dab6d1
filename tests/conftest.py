"""Processes that may be killed or joined, for every test that needs some."""

import os
import pickle
import signal
import socket
import traceback
import warnings

import pytest
import torch


def start(work):
    """Run `work` in a copy of this process; its number. A failure there ends it with status 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads do not survive a fork; here there are none
        child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


@pytest.fixture
def killed():
    """Runs work in a process of its own, which has to kill itself as `kill -9` would."""

    def run(work):
        _, status = os.waitpid(start(work), 0)
        assert os.WIFSIGNALED(status), "the process came to its end"
        assert os.WTERMSIG(status) == signal.SIGKILL

    return run


@pytest.fixture
def ranks(tmp_path, together):
    """What each of several processes, joined as torchrun joins them, makes of a function."""

    def run(size, work):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]

        def rank_work(rank):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
            os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
            (tmp_path / f"rank{rank}").write_bytes(pickle.dumps(work()))

        together(*(lambda rank=rank: rank_work(rank) for rank in range(size)))
        return [pickle.loads((tmp_path / f"rank{rank}").read_bytes()) for rank in range(size)]

    return run


@pytest.fixture
def together():
    """Runs several pieces of work at once, each in a process of its own, until all have succeeded."""

    def run(*works):
        children = [start(work) for work in works]
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(works)

    return run


@pytest.fixture
def kill_me():
    """What `kill -9` does to the process that calls it."""
    return lambda: os.kill(os.getpid(), signal.SIGKILL)
