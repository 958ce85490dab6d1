"""Both scripts for Slurm under Slurm itself: one machine, daemons of this test's own in a directory of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from fewshot_nas.space.pool import Entry, make_pool, part_path, split_pool, write_arch_file
from fewshot_nas.space.presets import SPACES

ROOT = Path(__file__).parents[2]
PX8 = SPACES["px8"]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={place}/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort={first}
SlurmdPort={second}
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=500 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster of this machine, which is told that two of its devices are GPUs."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    if os.getuid() or not all(map(shutil.which, PROGRAMS)):
        pytest.skip("needs root, and Debian's packages slurmctld, slurmd, slurm-client and munge")
    place, host = tmp_path / "slurm", socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (place / name).mkdir(parents=True)
    (place / "key").write_bytes(secrets.token_bytes(1024))
    (place / "key").chmod(0o400)
    facts = {"host": host, "place": place, "first": free_port(), "second": free_port(), "cpus": os.cpu_count()}
    (place / "slurm.conf").write_text(CONFIG.format(**facts))
    (place / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    monkeypatch.setenv("SLURM_CONF", str(place / "slurm.conf"))
    munge = [f"--{name}-file={place}/{name}" for name in ("key", "pid", "log", "seed")]
    daemons = [["munged", "--foreground", "--force", f"--socket={place}/munge.socket", *munge]]
    daemons += [["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    started = []
    for daemon in daemons:
        with (place / f"{daemon[0]}.out").open("w") as out:
            started.append(subprocess.Popen(daemon, stdout=out, stderr=out))
        time.sleep(2)
    yield place
    for daemon in reversed(started):
        daemon.terminate()
        daemon.wait()


@pytest.fixture
def project(workshop):
    """A directory like the project's, with a pool of eight parts."""
    for name in ("scripts", "configs", "fewshot_nas"):
        (workshop / name).symlink_to(ROOT / name)
    for number, part in enumerate(split_pool(make_pool(PX8, seed=0, size=16), 8), start=1):
        entries = {key: Entry(0.0, arch) for key, arch in part.items()}
        write_arch_file(part_path(workshop / "json_file" / "json8", number), PX8, entries)
    return workshop


def finished():
    """Wait until no job is left."""
    while subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout.strip():
        time.sleep(1)


@pytest.mark.slow
def test_a_training_and_an_evaluation_run_under_slurm(slurm, project, small):
    here = ["--nodes=1", "--gpus-per-node=2", "--cpus-per-task=1"]
    train = [
        "sbatch",
        "--wait",
        *here,
        "scripts/slurm_train.sh",
        "train_supernet",
        "--save=run",
        "--device=cpu",
        *small,
    ]
    subprocess.run(train, check=True, timeout=300)
    assert (project / "results" / "run" / "supernet.pth").exists()
    evaluate = ["scripts/slurm_evaluate.sh", "run", "1", "1", "--cpus-per-task=1", "--gpus-per-node=0"]
    subprocess.run(evaluate, check=True)
    finished()
    said = "".join(path.read_text() for path in project.glob("slurm-*.log"))
    scores = project / "results" / "run" / "json_results" / "epoch1_all_test"
    assert (scores / "prob_json_final.json").exists(), said
    assert (project / "results" / "run" / "report.html").exists(), said
