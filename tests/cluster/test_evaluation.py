"""Evaluations on Ray: the files are those of the local way, and workers that differ are named."""

import copy
import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

ray = pytest.importorskip("ray")

from fewshot_nas.cli.errors import InputError  # noqa: E402
from fewshot_nas.cluster.work import OnRay, packed  # noqa: E402
from fewshot_nas.cluster.worker import WorkerInfo  # noqa: E402
from fewshot_nas.distributed import World  # noqa: E402
from fewshot_nas.evaluation.executors import Work  # noqa: E402
from fewshot_nas.evaluation.inputs import Inputs  # noqa: E402
from fewshot_nas.evaluation.scorer import Scorer  # noqa: E402
from fewshot_nas.models.checkpoint import save_supernet  # noqa: E402
from fewshot_nas.models.supernet import Supernet  # noqa: E402
from fewshot_nas.results.run import Phase, phase_directory  # noqa: E402
from fewshot_nas.results.scores import METRICS  # noqa: E402
from fewshot_nas.space.pool import Entry, make_pool, part_path, split_pool, write_arch_file  # noqa: E402
from fewshot_nas.space.presets import SPACES  # noqa: E402
from fewshot_nas.space.split import by_width  # noqa: E402

pytestmark = pytest.mark.ray
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROOT = Path(__file__).parents[2]
PX8 = SPACES["px8"]
ARCHS = 300


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A run with a two-group supernet, and a pool of 300 archs in two parts."""
    monkeypatch.chdir(tmp_path)
    for number, part in enumerate(split_pool(make_pool(PX8, 1, ARCHS), 2), start=1):
        write_arch_file(
            part_path(tmp_path / "pool", number), PX8, {key: Entry(0.0, arch) for key, arch in part.items()}
        )
    torch.manual_seed(0)
    directory = phase_directory("mine", Phase("2", "1"))
    save_supernet(directory.chosen, Supernet(by_width(PX8, 2), 10), {"epoch": 7})
    return directory


@pytest.fixture
def evaluate(saved, command):
    """Runs the command for both parts; the arguments are added. Returns the score files' bytes."""

    def run(epoch, *arguments, **options):
        wanted = [
            "--save=mine",
            "--split_group=2",
            "--json_part=1-2",
            "--images=40",
            f"--epoch={epoch}",
            "run.pool=pool",
        ]
        small = ["evaluation.calibration_images=32", "evaluation.calibration_batch=16"]
        status, said = command("test", *wanted, *small, *arguments, **options)
        files = {path.name: path.read_bytes() for path in saved.scores(str(epoch)).glob("*.json")}
        return status, said, files

    return run


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_the_files_are_those_of_the_local_way(evaluate, cluster, workers):
    _, _, local = evaluate(1)
    _, said, found = evaluate(2, "--executor=ray", f"--address={cluster.address}", f"--workers={workers}")
    assert len(local) == 2 * (len(METRICS) + 1)
    assert found == local
    assert f"{ARCHS} archs" in said


@pytest.mark.slow
def test_the_entrypoint_of_kuberay_s_file_runs_on_a_cluster_like_its_own(evaluate, ray_cluster, monkeypatch):
    """The head computes nothing, and Ray tells the cluster's address. Kubernetes itself is not there."""
    spec = yaml.safe_load((ROOT / "scripts" / "kuberay.yml").read_text())["spec"]
    words, head = shlex.split(spec["entrypoint"]), spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]
    assert words[:3] == ["python", "-m", "fewshot_nas.test"]
    _, _, local = evaluate(1)
    with ray_cluster(num_cpus=int(head["num-cpus"])) as made:
        made.add_node(num_cpus=2, object_store_memory=100 << 20)
        monkeypatch.setenv("RAY_ADDRESS", made.address)
        status, said, found = evaluate(2, *words[words.index("--executor") :])
    assert status == 0, said
    assert found == local


@pytest.fixture(scope="module")
def archs():
    return list(make_pool(PX8, 2, 16).values())


@pytest.fixture(scope="module")
def inputs():
    pixels = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    labels = torch.randint(0, 10, (30,))
    return Inputs(pixels[:20], 10, pixels[20:], labels, 20, (0.5,), (0.3,), torch.device("cpu"))


@pytest.fixture(scope="module")
def supernet():
    return Supernet(by_width(PX8, 2), 10).to(memory_format=torch.channels_last)


@pytest.fixture(scope="module")
def work(supernet, inputs, archs):
    return Work(supernet, inputs, Scorer(supernet, inputs, unit_networks=4).plan(archs).units)


def test_a_scorer_s_scores_are_the_local_ones(make_workers, supernet, inputs, archs):
    local = Scorer(supernet, inputs, unit_networks=4).scores(archs)
    with OnRay(lambda: make_workers(2)) as executor:
        scorer = Scorer(supernet, inputs, executor, unit_networks=4)
        assert scorer.scores(archs) == local
        assert scorer.scores(archs[:5]) == Scorer(supernet, inputs, unit_networks=4).scores(archs[:5])


def test_what_differs_on_a_worker_is_named(work):
    packed_work = packed(work)
    assert packed_work.unpacked(World.alone()).units == work.units
    images = packed_work.arrays["images"].copy()
    images[0, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="has not the driver's images; the SHA-256 digests differ"):
        replace(packed_work, arrays={**packed_work.arrays, "images": images}).unpacked(World.alone())
    other = replace(packed_work.work, supernet=Supernet(by_width(PX8, 2), 10))
    with pytest.raises(InputError, match="has not the driver's checkpoint;"):
        replace(packed_work, work=other).unpacked(World.alone())


def test_the_worker_plans_by_its_own_memory(work):
    """A GPU scores as many images at a time as the driver asks for, and holds kernels and images if it can."""
    gpu = World(0, 1, torch.device("meta"))
    work = replace(work, supernet=copy.deepcopy(work.supernet))  # which `unpacked` moves
    planned = packed(work, memory_mb=4096, gpu_batch=77).unpacked(gpu).inputs
    assert (planned.batch, planned.holds_kernels, planned.holds_images) == (77, True, True)


def test_a_worker_without_a_gpu_takes_the_drivers_batch_and_its_own_bound(work):
    alone = packed(work, gpu_batch=77).unpacked(World.alone()).inputs
    assert (alone.batch, alone.holds_kernels) == (work.inputs.batch, False)
    with pytest.raises(InputError, match=r"may take 1 MB, but .* are needed"):
        packed(work, memory_mb=1).unpacked(World.alone())


def test_a_worker_s_differences_are_named():
    info = WorkerInfo("node", "host", 1, "0.1 (source a)", {"device": "cpu", "threads": 2})
    assert info.differences({"fewshot-nas": "0.1 (source a)", "device": "cpu", "batch": 8}) == []
    assert info.differences({"fewshot-nas": "0.1 (source b)", "threads": 1}) == [
        "fewshot-nas 0.1 (source a), expected 0.1 (source b)",
        "threads 2, expected 1",
    ]


def test_a_machine_with_other_kernels_is_left_out_and_named(cluster, make_workers, supernet, inputs, archs):
    """The first worker decides how all compute; a machine that joins with other kernels gets nothing to do."""
    said = []
    with OnRay(lambda: make_workers(None, said, threads=2)) as executor:
        (first,) = executor.numerics(inputs.device, [])
        if first["cpu_capability"] == "DEFAULT":
            pytest.skip("this processor has no other kernels")
        odd = cluster.add_node(num_cpus=2, object_store_memory=80 << 20, env_vars={"ATEN_CPU_CAPABILITY": "default"})
        try:
            while not said:
                executor._workers.start(9)
                list(executor._workers.replies())
            scores = Scorer(supernet, inputs, executor, unit_networks=4).scores(archs)
        finally:
            cluster.remove_node(odd)
    assert len(said) == 1
    assert "is left out, it has cpu_capability DEFAULT, expected " in said[0]
    with torch_threads(2):
        assert scores == Scorer(supernet, inputs, unit_networks=4).scores(archs)


@contextmanager
def torch_threads(count):
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(1)


def test_if_all_machines_differ_from_those_before_it_stops(make_workers, inputs):
    """Scores of a mixture would depend on who computed which."""
    before = {"cpu_capability": "OTHER", "device": "cpu"}
    with (
        OnRay(lambda: make_workers(1)) as executor,
        pytest.raises(
            InputError, match=r"no other machine is left: .* is left out, it has cpu_capability .*, expected OTHER"
        ),
    ):
        executor.numerics(inputs.device, [before, before])
