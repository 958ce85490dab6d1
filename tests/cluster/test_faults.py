"""Evaluations on Ray whose workers, machines and drivers are killed end in the files of one that was left alone.

Moments are random, but counted in finished units rather than in seconds: a slow machine changes nothing.
"""

import logging
import os
import random
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

ray = pytest.importorskip("ray")

from fewshot_nas.cluster.work import OnRay  # noqa: E402
from fewshot_nas.distributed import World  # noqa: E402
from fewshot_nas.evaluation.executors import Work  # noqa: E402
from fewshot_nas.evaluation.inputs import Inputs  # noqa: E402
from fewshot_nas.evaluation.runner import Job, run_job  # noqa: E402
from fewshot_nas.evaluation.scorer import Scorer  # noqa: E402
from fewshot_nas.models.checkpoint import save_supernet  # noqa: E402
from fewshot_nas.models.supernet import Supernet  # noqa: E402
from fewshot_nas.results.directories import journal_path  # noqa: E402
from fewshot_nas.results.run import Phase, phase_directory  # noqa: E402
from fewshot_nas.space.pool import Entry, make_pool, part_path, write_arch_file  # noqa: E402
from fewshot_nas.space.presets import SPACES  # noqa: E402
from fewshot_nas.space.split import by_width  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
logger = logging.getLogger(__name__)

PX8 = SPACES["px8"]
WORKERS = 3


@dataclass(eq=False)
class Noting(Work):
    """Work that notes which units are begun."""

    notes: Path = Path()

    def __call__(self, number):
        note(self.notes, "begin", number)
        return super().__call__(number)


def note(notes, what, number):
    with notes.open("a") as stream:
        stream.write(f"{what} {number}\n")


class Disturbed(OnRay):
    """Notes which units are done, and does harm after some of them."""

    def __init__(self, workers, notes, harm, moments):
        super().__init__(workers)
        self._notes, self._harm, self._moments = notes, harm, moments

    def results(self, numbers, work):
        noting = Noting(**vars(work), notes=self._notes)
        for done, (number, sums) in enumerate(super().results(numbers, noting), start=1):
            note(self._notes, "done", number)
            yield number, sums
            if done in self._moments:
                self._harm(self._workers)


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return Supernet(by_width(PX8, 2), 10).to(memory_format=torch.channels_last)


@pytest.fixture
def inputs():
    pixels = torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8)
    return Inputs(
        pixels[:100], 50, pixels[100:], torch.randint(0, 10, (300,)), 100, (0.5,), (0.3,), torch.device("cpu")
    )


@pytest.fixture
def score(supernet, inputs, tmp_path):
    """Scores 300 archs in two parts; the bytes of all files."""

    def run(name, executor=None):
        archs = make_pool(PX8, 0, 300)
        parts = {1: dict(list(archs.items())[:150]), 2: dict(list(archs.items())[150:])}
        job = Job(tmp_path / name, parts, {"images": 300})
        scorer = Scorer(supernet, inputs, executor, unit_networks=2)
        plan = scorer.plan(job.archs)
        run_job(job, plan, scorer, World.alone())
        return len(plan.units), {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.json*")}

    return run


def check(notes, kills, units):
    """No unit is begun after it was done, and others are begun again for a kill, or at the end on an idle worker."""
    done, begun = set(), []
    for what, number in (line.split() for line in notes.read_text().splitlines()):
        assert not (what == "begin" and number in done), f"unit {number} was done already"
        (begun.append if what == "begin" else done.add)(number)
    assert len(done) == units
    logger.info("%d units, %d kills, %d units begun again", units, kills, len(begun) - units)
    assert len(begun) - units <= kills + WORKERS


def moments(count, units, seed):
    return set(random.Random(seed).sample(range(1, units - WORKERS), count))


def test_workers_killed_at_twenty_moments(score, make_workers, tmp_path):
    units, alone = score("alone")
    picked = random.Random(1)

    def kill(workers):
        os.kill(picked.choice(workers.accepted).info.pid, signal.SIGKILL)

    executor = Disturbed(lambda: make_workers(WORKERS), tmp_path / "notes", kill, moments(20, units, 0))
    with executor:
        assert score("disturbed", executor) == (units, alone)
    check(tmp_path / "notes", 20, units)


def test_machines_killed_at_ten_moments(score, ray_cluster, workers_at, tmp_path):
    """Each time another one joins; a machine has two workers."""
    units, alone = score("alone")
    picked = random.Random(1)
    with ray_cluster(num_cpus=0) as cluster:
        machine = {"num_cpus": 2, "object_store_memory": 80 << 20}
        machines = [cluster.add_node(**machine) for _ in range(2)]

        def kill(workers):
            cluster.remove_node(machines.pop(picked.randrange(2)), allow_graceful=False)
            machines.append(cluster.add_node(**machine))

        executor = Disturbed(lambda: workers_at(cluster, WORKERS), tmp_path / "notes", kill, moments(10, units, 0))
        with warnings.catch_warnings(), executor:
            warnings.simplefilter("ignore")
            assert score("disturbed", executor) == (units, alone)
    check(tmp_path / "notes", 2 * 10, units)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A run with a supernet, and a pool of 3,000 archs."""
    monkeypatch.chdir(tmp_path)
    entries = {key: Entry(0.0, arch) for key, arch in make_pool(PX8, 1, 3000).items()}
    write_arch_file(part_path(tmp_path / "pool", 1), PX8, entries)
    torch.manual_seed(0)
    directory = phase_directory("mine", Phase("2", "1"))
    save_supernet(directory.chosen, Supernet(by_width(PX8, 2), 10), {"epoch": 7})
    return directory


def test_the_driver_killed_at_ten_moments_and_given_again(saved, command, cluster):
    wanted = ["--save=mine", "--split_group=2", "--json_part=1", "--images=100", "run.pool=pool"]
    wanted += ["evaluation.calibration_images=32", "evaluation.calibration_batch=16"]
    command("test", *wanted, "--epoch=1")
    on_ray = [*wanted, "--epoch=2", "--executor=ray", f"--address={cluster.address}", "--workers=2"]
    lines, picked, killed, seen = units_in(saved), random.Random(0), 0, 0
    for _ in range(10):
        goal = seen + picked.randrange(2)
        status, said = command("test", *on_ray, until=lambda: lines() > goal)  # noqa: B023
        killed, seen = killed + (status == -signal.SIGKILL), lines()
        assert "error" not in said
    status, said = command("test", *on_ray)
    alone, disturbed = (
        {path.name: path.read_bytes() for path in saved.scores(epoch).glob("*.json")} for epoch in ("1", "2")
    )
    assert alone == disturbed
    logger.info("%d drivers were killed, after which %d units were kept", killed, seen)
    assert killed == 10


def test_sigterm_ends_the_driver_as_anywhere(saved, command, cluster):
    """Also while it waits for its workers, where Ray raises an interruption of its own."""
    on_ray = ["--save=mine", "--split_group=2", "--json_part=1", "--images=100", "run.pool=pool", "--epoch=3"]
    on_ray += ["--executor=ray", f"--address={cluster.address}", "--workers=2"]
    begun = lambda: (path := journal_path(saved.scores("3"), "1")).exists() and "unit" in path.read_text()  # noqa: E731
    status, said = command("test", *on_ray, until=begun, signal=signal.SIGTERM)
    assert status == 143
    assert said.endswith("terminated\n")
    assert "Traceback" not in said


def units_in(saved):
    """Counts the units in the journal."""

    def lines():
        path = journal_path(saved.scores("2"), "1")
        return path.read_text().count('"unit"') if path.exists() else 0

    return lines
