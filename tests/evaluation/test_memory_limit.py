"""What memory a process may take, told by files as Linux has them."""

import pytest
import torch

from fewshot_nas.evaluation import memory
from fewshot_nas.evaluation.memory import available_bytes, memory_limit_mb

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """A file system with 16 GiB available, and whatever files a test adds."""

    def with_files(**files):
        files = {"proc/meminfo": f"MemTotal: 33554432 kB\nMemAvailable: {16 << 20} kB\nHugePages_Total: 0\n", **files}
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return with_files


def limited(directory, most, used, files=0):
    """A control group of the second kind."""
    return {
        f"sys/fs/cgroup/{directory}memory.max": f"{most}\n",
        f"sys/fs/cgroup/{directory}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{directory}memory.stat": f"anon 5\ninactive_file {files}\n",
    }


GROUP = {"proc/self/cgroup": "0::/job/step\n"}
OLD = {
    "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/job\n",
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{3 * GIB}",
    "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{1 * GIB}",
}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16 * GIB),
        (GROUP, 16 * GIB),
        (GROUP | limited("job/step/", 4 * GIB, GIB), 3 * GIB),
        (GROUP | limited("job/step/", 4 * GIB, 3 * GIB, files=2 * GIB), 3 * GIB),
        (GROUP | limited("job/", 5 * GIB, GIB) | limited("job/step/", "max", GIB), 4 * GIB),
        (GROUP | limited("", 2 * GIB, GIB), GIB),  # inside a container, where the group's own path is not shown
        (GROUP | limited("job/step/", 99 * GIB, GIB), 16 * GIB),
        (GROUP | limited("job/step/", GIB, 2 * GIB), 0),
        (OLD, 2 * GIB),
    ],
)
def test_the_least_of_machine_and_limits_counts(machine, files, expected):
    assert available_bytes(machine(**files)) == expected


def test_where_linux_tells_nothing_there_is_what_the_machine_has(tmp_path):
    assert available_bytes(tmp_path) > GIB


def test_processes_of_one_machine_share_it(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10 * GIB)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = memory_limit_mb(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (alone, memory_limit_mb(torch.device("cpu"))) == (8192, 2048)


def test_a_gpu_has_what_is_free_and_what_torch_keeps_for_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIB)
    assert memory_limit_mb(torch.device("cuda", 0)) == 9216
