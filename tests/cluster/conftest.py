"""A Ray cluster of real processes on this machine, and workers that do what a test tells them."""

import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

MACHINE = {"num_cpus": 4, "object_store_memory": 100 << 20, "include_dashboard": False}
# A machine that has gone is noticed within seconds.
PROMPT = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@contextmanager
def _ray_cluster(**head):
    """Ray's own warnings are not ours to mend."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    os.environ |= {"RAY_raylet_start_wait_time_s": "300"}  # a busy machine is slow, and that is no failure
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={**MACHINE, **head, "_system_config": PROMPT})
    yield made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.shutdown()


@pytest.fixture(scope="session")
def cluster():
    """One machine with four cores."""
    with _ray_cluster() as made:
        yield made


@pytest.fixture(scope="session")
def ray_cluster():
    """Makes another cluster; the arguments are those of its first machine."""
    return _ray_cluster


@pytest.fixture(scope="session")
def make_workers(cluster, workers_at):
    """Makes pools of workers on the cluster: a context; takes a list for the lines that are reported."""
    return partial(workers_at, cluster)


@pytest.fixture(scope="session")
def workers_at():
    """As `make_workers`, on any cluster."""
    pytest.importorskip("ray")
    from fewshot_nas.cluster.pool import workers_on
    from fewshot_nas.computing import DefaultSettings

    @contextmanager
    def make(cluster, workers, said=None, threads=1):
        report = [].append if said is None else said.append
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with workers_on(cluster.address, workers, "cpu", DefaultSettings(threads=threads), report) as workers:
                yield workers

    return make


@dataclass(frozen=True)
class Tasks:
    """Packed work: `do(number)` on the workers; with `place`, each task leaves a line in `place/begun` as it begins."""

    do: object
    place: Path | None = None

    def unpacked(self, world):
        def work(number):
            if self.place:
                with (self.place / "begun").open("a") as stream:
                    stream.write(f"{number}\n")
            return self.do(number)

        return work


@pytest.fixture
def tasks(tmp_path):
    """Makes packed work of a function; numbers of the tasks in the order in which they were begun."""
    import ray

    # Workers cannot import tests.
    for module in (sys.modules[__name__], sys.modules[tasks.__module__]):
        ray.cloudpickle.register_pickle_by_value(module)
    return lambda do: Tasks(do, tmp_path)


@pytest.fixture
def begun(tmp_path):
    """The tasks that workers have begun, in order."""
    return lambda: [int(line) for line in (tmp_path / "begun").read_text().split()]


@pytest.fixture
def command():
    """Runs a command of ours as a process of its own; kills it when a condition holds."""

    def run(name, *arguments, until=None, check=True, signal=signal.SIGKILL):
        process = subprocess.Popen(
            [sys.executable, "-m", f"fewshot_nas.{name}", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        while until and process.poll() is None and not until():
            time.sleep(0.01)
        if until:
            process.send_signal(signal)
        said, _ = process.communicate()
        assert until or not check or process.returncode == 0, said
        return process.returncode, said

    return run
