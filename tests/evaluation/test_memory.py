"""Memory bounds the batch, and what can never fit is refused."""

from dataclasses import replace

import pytest
import torch

from fewshot_nas.cli.errors import InputError
from fewshot_nas.evaluation import scorer
from fewshot_nas.evaluation.engine import Walk
from fewshot_nas.evaluation.scorer import Scorer, available_bytes, memory_limit_mb


@pytest.fixture
def fitted(make_supernet, make_archs, inputs):
    """The inputs that fit into some memory, and their estimate."""
    supernet, archs = make_supernet(2), make_archs(8)

    def of(memory_mb):
        scorer = Scorer(supernet, inputs, memory_mb=memory_mb, unit_networks=8)
        return scorer.within_memory(scorer.plan(archs))

    return of


@pytest.mark.parametrize("memory_mb", [None, 4096])
def test_enough_memory_leaves_the_batch_as_it_is(fitted, inputs, memory_mb):
    assert fitted(memory_mb)[0].batch == inputs.batch


def test_memory_bounds_the_batch_or_refuses(fitted, inputs):
    tight = next(mb for mb in range(800, 4096) if fits(fitted, mb))
    bounded, predicted_mb = fitted(tight)
    assert inputs.calibration_batch <= bounded.batch <= inputs.batch
    assert predicted_mb <= tight
    with pytest.raises(InputError, match=rf"may take {tight - 1} MB, but {tight} are needed .* of 32 images"):
        fitted(tight - 1)


def test_a_gpu_holds_kernels_and_then_images_if_they_fit_beside_the_batch(make_supernet, make_archs, inputs):
    """Nothing is computed here, so the GPU need not be there."""
    supernet, archs = make_supernet(1), make_archs(8, stems=1)

    def fitted(memory_mb, device="cuda"):
        scorer = Scorer(supernet, replace(inputs, device=torch.device(device)), memory_mb=memory_mb, unit_networks=8)
        found, predicted_mb = scorer.within_memory(scorer.plan(archs))
        assert found.batch == inputs.batch
        return (found.holds_kernels, found.holds_images), predicted_mb

    (nothing, bare_mb), (everything, all_mb) = fitted(None), fitted(4096)
    assert (nothing, everything) == ((False, False), (True, True))
    (unit,) = Scorer(supernet, inputs, unit_networks=8).plan(archs).units
    kernels = Walk(supernet, unit, inputs).convs()
    kernels_mb = 4 * sum(conv.weights.conv.numel() for conv in kernels) / 2**20
    images_mb = (inputs.images.nbytes + inputs.calibration.nbytes) / 2**20
    assert all_mb == pytest.approx(bare_mb + kernels_mb + images_mb)
    assert fitted(bare_mb + 1.001 * kernels_mb) == ((True, False), pytest.approx(bare_mb + kernels_mb))
    assert fitted(bare_mb + 0.999 * kernels_mb)[0] == (False, True)
    assert fitted(4096, "cpu")[0] == (False, False)


def fits(fitted, memory_mb):
    try:
        return bool(fitted(memory_mb))
    except InputError:
        return False


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()])
def test_where_memory_runs_out_half_as_many_images_go_through_and_no_score_changes(
    make_supernet, make_archs, inputs, monkeypatch, error
):
    supernet, archs, sizes = make_supernet(1), make_archs(4), []
    inputs = replace(inputs, batch=100, holds_kernels=True)
    expected, score = Scorer(supernet, inputs).scores(archs), Walk.score

    def fits_40(walk, images, labels):
        sizes.append(len(images))
        if len(images) > 40:
            raise error
        score(walk, images, labels)

    monkeypatch.setattr(Walk, "score", fits_40)
    found = Scorer(supernet, inputs, unit_networks=2).scores(archs)
    assert [each.top1 for each in found] == [each.top1 for each in expected]
    assert [each.prob for each in found] == pytest.approx([each.prob for each in expected], rel=1e-5)
    images = len(inputs.images)
    assert sizes[:2] == [min(100, images), min(50, images)]
    assert max(sizes[2:]) == 32  # from then on, and as many as a calibration batch, which cannot be divided


def test_where_not_even_calibration_fits_one_sentence_says_so(make_supernet, make_archs, inputs, monkeypatch):
    def runs_out(walk):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Walk, "calibrate", runs_out)
    with pytest.raises(InputError, match=r"ran out with 32 scoring images and 32 calibration images .* lower"):
        Scorer(make_supernet(1), replace(inputs, batch=100)).scores(make_archs(2))


def test_other_errors_stay_what_they_are(make_supernet, make_archs, inputs, monkeypatch):
    def fails(walk):
        raise RuntimeError("a defect")

    monkeypatch.setattr(Walk, "calibrate", fails)
    with pytest.raises(RuntimeError, match="a defect"):
        Scorer(make_supernet(1), inputs).scores(make_archs(1))


# ---- What memory a process may take, told by files as Linux has them ------------------------------------------------

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
    monkeypatch.setattr(scorer, "available_bytes", lambda: 10 * GIB)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    alone = memory_limit_mb(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (alone, memory_limit_mb(torch.device("cpu"))) == (8192, 2048)


def test_a_gpu_has_what_is_free_and_what_torch_keeps_for_itself(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: GIB)
    assert memory_limit_mb(torch.device("cuda", 0)) == 9216
