"""Processes that may be killed or joined, for every test that needs some."""

import importlib
import os
import pickle
import re
import shlex
import shutil
import signal
import socket
import traceback
import warnings

import hypothesis
import pytest

# Tests fork, and expect the CPU's memory and file names; tests/gpu gives the GPUs back to a process of its own.
os.environ.setdefault("GPUS_OF_TESTS", os.environ.get("CUDA_VISIBLE_DEVICES", ""))
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch

from fewshot_nas.config import dump_config, load_config
from fewshot_nas.models.checkpoint import save_supernet
from fewshot_nas.models.supernet import Supernet
from fewshot_nas.records import files
from fewshot_nas.records.files import write_json, write_text
from fewshot_nas.results.directories import PhaseDirectory
from fewshot_nas.running.run import seed_weights
from fewshot_nas.space.pool import Entry, make_pool, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES
from fewshot_nas.space.split import by_width

PX8 = SPACES["px8"]
SMALL = (
    "space.base_widths=[4,6,10,20]",
    "data.train_images=32",
    "data.valid_images=20",
    "evaluation.calibration_images=16",
    *(
        f"{section}.{key}"
        for section in ("training", "few_shot", "stand_alone", "finetune")
        for key in ("epochs=1", "batch_size=16")
    ),
    "run.checkpoint_steps=1",
)

# A busy machine is slow, and that is no failure.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_collection_modifyitems(items):
    """Move the tests with the marker `last` to the end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


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


@pytest.fixture(autouse=True)
def _one_thread():
    """Small networks are fastest so, and tests side by side do not fight for the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A directory of its own with a pool of 30 archs, where commands run with the defaults' paths.

    The package's own pool and ground truth are out of sight.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "no package")
    (part,) = split_pool(make_pool(PX8, seed=0, size=30), 1)
    write_arch_file(
        tmp_path / "json_file" / "json8" / "part1.json",
        PX8,
        {key: Entry(0.0, arch) for key, arch in part.items()},
    )
    return tmp_path


@pytest.fixture(scope="session")
def _fresh_run(tmp_path_factory):
    """Where a run lies whose supernet has its first weights."""
    place = tmp_path_factory.mktemp("fresh")
    directory = PhaseDirectory(place / "results" / "run")
    config = load_config(None, SMALL)
    space = config.space.build()
    seed_weights(0)
    save_supernet(directory.chosen, Supernet(by_width(space, 1), num_classes=10))
    write_text(directory.config, dump_config(config))
    write_json(directory.manifest, {"space": space.values(), "data": {"num_classes": 10}})
    return place


@pytest.fixture
def fresh_run(_fresh_run, tmp_path, monkeypatch):
    """A directory in which commands run, with the run `run`, whose small supernet has its first weights."""
    shutil.copytree(_fresh_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small():
    """Settings that make any training a matter of a second."""
    return list(SMALL)


@pytest.fixture
def calls_of_hints():
    """The command lines in a message, without `python -m fewshot_nas.`; each one is taken by its command."""

    def of(message):
        lines = [shlex.split(line) for line in re.findall(r"`python -m fewshot_nas\.([^`]+)`", message)]
        for command, *arguments in lines:
            importlib.import_module(f"fewshot_nas.{command}")._parser().parse_intermixed_args(arguments)
        return lines

    return of
