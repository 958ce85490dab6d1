"""Stand-alone trainings on Ray: the ground truth is the local one, and machines need a directory in common."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

from fewshot_nas.cli.errors import InputError  # noqa: E402
from fewshot_nas.cluster.work import Trainings  # noqa: E402
from fewshot_nas.config import load_config  # noqa: E402
from fewshot_nas.distributed import World  # noqa: E402
from fewshot_nas.records.files import locked, write_text  # noqa: E402
from fewshot_nas.results.run import stand_alone_directory  # noqa: E402
from fewshot_nas.running.networks import GroundTruth, StandAlone  # noqa: E402
from fewshot_nas.running.run import Run  # noqa: E402
from fewshot_nas.space.pool import read_pool  # noqa: E402

pytestmark = pytest.mark.ray


@pytest.fixture
def train(workshop, small, command):
    """Runs the command; the ground truth's files by name, without what tells the place."""

    def run(save, archs, *arguments, **options):
        status, said = command(
            "train_stand_alone", f"--target_arch_num={archs}", f"--save={save}", *small, *arguments, **options
        )
        made = sorted((workshop / "results" / save).glob("gt_arch30*.json"))
        runs = sorted((workshop / "results" / save / "gt_arch30.runs").glob("*.json"))
        return status, said, {path.name: path.read_bytes() for path in (*made, *runs)}

    return run


@pytest.fixture
def trainings(workshop, small):
    """As the driver sends them, for one arch."""
    config = load_config(None, small)
    (part,) = read_pool(config.run.pool_path, config.space.build())
    run = Run(save="here", config=config, world=World.alone(), resume=True, report=[].append)
    token = Path("results/here/stand_alone/.driver-1")
    write_text(token, token.name)
    truth = GroundTruth(Path("results/here/gt_arch30.json"))
    return Trainings.of([StandAlone.of(run, "arch1", part["arch1"], truth)], token)


def test_the_ground_truth_is_the_local_one(train, cluster):
    *_, local = train("local", "1-3")
    _, said, found = train("ray", "1-3", "--executor=ray", f"--address={cluster.address}", "--workers=2")
    assert found == local
    assert said.count(" %, test ") == 3
    _, said, _ = train("ray", "1-3", "--executor=ray", "--address=nowhere:1")  # nothing to do, so no cluster is asked
    assert said.count("is in results/ray/gt_arch30.json already") == 3


@pytest.mark.slow
def test_a_worker_killed_halfway_is_replaced_and_its_training_goes_on(train, cluster):
    """The new worker begins with what the killed one has saved."""
    *_, local = train("local", "1-2", "run.checkpoint_steps=2")
    last, killed = stand_alone_directory("ray", "arch1", 0).last, []

    def kill_once():
        if not killed and last.exists():
            killed.append(worker_at_work())
            os.kill(killed[0], signal.SIGKILL)

    options = ["--executor=ray", f"--address={cluster.address}", "--workers=1", "run.checkpoint_steps=2"]
    status, said, found = train("ray", "1-2", *options, until=kill_once)
    assert (status, found, len(killed)) == (0, local, 1)
    assert said.count("is replaced: its process has died") == 1


def worker_at_work():
    """The process of the only worker that does a task; Ray gives workers such names."""
    names = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            names[int(path.parent.name)] = path.read_bytes()
    (found,) = (process for process, name in names.items() if name.startswith(b"ray::WorkerActor.compute"))
    return found


def test_a_worker_trains_but_the_driver_adds(trainings, workshop):
    result, said = trainings.unpacked(World.alone())(0)
    assert said.startswith(f"arch1, seed 0: top-1 {result.valid:.2f} %, test top-1 {result.test:.2f} %")
    assert "nothing was learned" in said  # a worker's doubt reaches the driver, too
    assert not trainings.truth.exists()


def test_a_training_that_was_interrupted_goes_on(trainings, workshop, monkeypatch):
    """The driver died before it could add the result: nothing is trained again."""
    work = trainings.unpacked(World.alone())
    first, _ = work(0)
    log = stand_alone_directory("here", "arch1", 0).log
    written = log.read_bytes()
    assert work(0)[0] == first
    assert log.read_bytes().startswith(written)


def test_who_cannot_see_the_drivers_directory_says_so(trainings, tmp_path):
    with pytest.raises(InputError, match=r"does not see .*which the driver has just written; to train on Ray, start"):
        replace(trainings, directory=tmp_path / "elsewhere").unpacked(World.alone())
    trainings.token.write_text("another driver's")
    with pytest.raises(InputError, match="does not see"):
        trainings.unpacked(World.alone())


def test_who_sees_other_images_says_so(trainings):
    other = {**trainings.manifest, "data": {**trainings.manifest["data"], "name": "others"}}
    with pytest.raises(InputError, match=r"differs from the driver in data\.name; all machines need the same images"):
        replace(trainings, manifest=other).unpacked(World.alone())


def test_what_another_process_is_at_is_left_to_it(trainings, monkeypatch):
    monkeypatch.setattr("fewshot_nas.cluster.work._BUSY_S", 0.0)
    with locked(stand_alone_directory("here", "arch1", 0).lock, wait=False):
        assert trainings.unpacked(World.alone())(0) == (None, "")
