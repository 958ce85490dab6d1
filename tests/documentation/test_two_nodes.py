"""scripts/slurm_train.sh on two nodes, network namespaces with own names: four processes, a lost node, a requeue.

Slurm itself is stood in for by `srun` and `scontrol`, as far as the script uses them.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fewshot_nas.records.files import write_text

ROOT = Path(__file__).parents[2]
SCONTROL = "#!/usr/bin/env bash\nprintf 'node%s\\n' 1 2\n"
# As srun --kill-on-bad-exit: one task on each node, and the first that fails ends the other. It gets SIGTERM, and after
# Slurm's KillWait SIGKILL, with all that it has started: torchrun waits long for a store that it cannot reach.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
tasks=()
for number in 1 2; do
    ip netns exec "$NODES$number" unshare --uts bash -c 'hostname "$0"; exec "$@"' "node$number" "$@" &
    tasks+=($!)
done
for _ in 1 2; do
    wait -n && continue
    status=$?
    kill "${tasks[@]}" 2>/dev/null
    for ((second = 0; second < 15; second++)); do
        kill -0 "${tasks[@]}" 2>/dev/null || break
        sleep 1
    done
    for number in 1 2; do ip netns pids "$NODES$number" | xargs --no-run-if-empty kill -9; done
    exit "$status"
done
"""
TRAIN = ["train_supernet", "--save=run", "--device=cpu", "training.epochs=6", "run.silence_s=4"]


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def nodes():
    """The beginning of the names of two network namespaces that reach each other as node1 and node2."""
    name = f"n{secrets.token_hex(3)}-"
    hosts = "127.0.0.1 localhost\n10.77.0.1 node1\n10.77.0.2 node2\n"
    places = [Path(f"/etc/netns/{name}{number}") for number in (1, 2)]
    try:
        if os.getuid() or not all(map(shutil.which, ("ip", "unshare"))):
            pytest.skip("needs root, ip and unshare")
        try:
            for number in (1, 2):
                ip("netns", "add", f"{name}{number}")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
        ip("link", "add", "wire", "netns", f"{name}1", "type", "veth", "peer", "name", "wire", "netns", f"{name}2")
        for number, place in enumerate(places, start=1):
            inside = ("-n", f"{name}{number}")
            ip(*inside, "address", "add", f"10.77.0.{number}/24", "dev", "wire")
            for link in ("lo", "wire"):
                ip(*inside, "link", "set", link, "up")
            write_text(place / "hosts", hosts)
        yield name
    finally:
        for number, place in enumerate(places, start=1):
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run(["ip", "netns", "delete", f"{name}{number}"], capture_output=True)


@pytest.fixture
def job(workshop, nodes, small, monkeypatch):
    """Starts the script in a directory of its own, as Slurm starts it for a job on two nodes with two GPUs each."""
    (workshop / "scripts").symlink_to(ROOT / "scripts")
    (workshop / "fewshot_nas").symlink_to(ROOT / "fewshot_nas")
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        write_text(workshop / "bin" / name, text)
        (workshop / "bin" / name).chmod(0o755)
    facts = {"JOB_ID": "17", "JOB_NUM_NODES": "2", "JOB_NODELIST": "node[1-2]"}
    facts |= {"GPUS_ON_NODE": "2", "CPUS_PER_TASK": "2"}
    environment = os.environ | {f"SLURM_{name}": value for name, value in facts.items()} | {"NODES": nodes}
    programs = Path(sys.executable).parent
    environment["PATH"] = f"{workshop / 'bin'}:{programs}:{environment['PATH']}"

    def start(directory):
        if not (directory / "scripts").exists():
            shutil.copytree(workshop, directory, symlinks=True, dirs_exist_ok=True)
        with (directory / "log").open("a") as log:
            command = ["scripts/slurm_train.sh", *TRAIN, *[each for each in small if "training.epochs" not in each]]
            return subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)

    return start


@pytest.fixture
def unbroken(job, tmp_path_factory):
    """The weights of a training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("unbroken")
    assert job(directory).wait(timeout=400) == 0, (directory / "log").read_text()
    return weights(directory)


def weights(directory):
    content = torch.load(directory / "results" / "run" / "supernet.pth", weights_only=True)
    return content["model"]


@pytest.mark.slow
@pytest.mark.dist
def test_a_lost_node_ends_the_job_and_a_requeue_ends_as_an_unbroken_one(job, nodes, unbroken, tmp_path_factory):
    """A node whose processes are killed, and one that no packet reaches any more: its connections stay open."""
    for lost in ("killed", "unplugged"):
        directory = tmp_path_factory.mktemp(lost)
        begun, last = job(directory), directory / "results" / "run" / "last.pth"
        while not last.exists():
            assert begun.poll() is None, (directory / "log").read_text()
            time.sleep(0.1)
        if lost == "killed":
            subprocess.run(["kill", "-9", *ip("netns", "pids", f"{nodes}2").split()], check=True)
        else:
            ip("-n", f"{nodes}2", "link", "set", "wire", "down")
        assert begun.wait(timeout=200) != 0
        said = (directory / "log").read_text()
        # srun ends the task of node1 where that of node2 was killed. Nobody tells it that node2 is out of reach.
        others = r"error: .*(rank [23] \(process \d+ on node2\)|the connection to)"
        expected = "terminated" if lost == "killed" else others
        assert re.search(expected, said), said
        assert not (directory / "results" / "run" / "supernet.pth").exists()
        ip("-n", f"{nodes}2", "link", "set", "wire", "up")
        assert job(directory).wait(timeout=400) == 0, (directory / "log").read_text()
        found = weights(directory)
        assert found.keys() == unbroken.keys()
        assert all(torch.equal(found[name], unbroken[name]) for name in found)
